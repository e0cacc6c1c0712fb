import { Code, ConnectError } from "@connectrpc/connect";
import { causedError } from "./caused-error.js";

/** True for what a ConnectError's code can be. */
export function isCode(code: unknown): code is Code {
  return typeof code === "number" && Code[code] !== undefined;
}

/** The result of a read, or something else when it throws. */
export function attempt<T>(read: () => T, otherwise: T): T {
  try {
    return read();
  } catch {
    return otherwise;
  }
}

/** True for a ConnectError, of whichever copy of its package. Never throws. */
export function isConnectError(thrown: unknown): thrown is ConnectError {
  return attempt(() => thrown instanceof ConnectError, false);
}

/** The text of whatever was thrown. Never throws. */
export function textOf(thrown: unknown): string {
  const text = () => String(thrown instanceof Error ? thrown.message : thrown);
  return attempt(text, "what was thrown has no text");
}

/** ConnectError.from(), for what was thrown by others. Never throws. */
export function toConnectError(thrown: unknown, code = Code.Unknown): ConnectError {
  const otherwise = causedError(textOf(thrown), code, thrown);
  return attempt(() => ConnectError.from(thrown, code), otherwise);
}
