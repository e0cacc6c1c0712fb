import { Code, ConnectError } from "@connectrpc/connect";
import { causedError } from "../message/caused-error.js";
import { copyMarks } from "../message/error-marks.js";
import { packDetail } from "../message/status.js";
import { leftOut } from "../message/text.js";
import { attempt, isCode, isConnectError, textOf } from "../message/thrown.js";

/** Most details of an error: to encode each of 20,000 would stop a process for a while. */
const maxDetails = 256;

/**
 * Turns what a handler threw into the error that its caller may see. The text
 * of anything but a ConnectError stays here, unless it is to be revealed: it may
 * hold what is not for callers.
 *
 * Never throws, whatever was thrown: a Proxy, an object without prototype, getters that
 * throw, a ConnectError whose fields were changed to nonsense. The result is an error of
 * its own, with a code, a text, details as bytes and metadata that can be written.
 */
export function toCallerError(thrown: unknown, reveal: boolean): ConnectError {
  const error = isConnectError(thrown)
    ? copyOf(thrown)
    : causedError(reveal ? textOf(thrown) : "internal error", Code.Internal, thrown);
  attempt(() => copyMarks(Object(thrown), error), undefined);
  return error;
}

function copyOf(thrown: ConnectError): ConnectError {
  const code: unknown = attempt(() => thrown.code, undefined);
  const text: unknown = attempt(() => thrown.rawMessage, undefined);
  const metadata = attempt(() => new Headers(thrown.metadata), undefined);
  const all = attempt(() => [...thrown.details], []);
  const given = all.slice(0, maxDetails);
  const details = given.flatMap((detail) => attempt(() => [checkDetail(packDetail(detail))], []));
  const tooMany = all.length - given.length;
  const lost = given.length - details.length;
  const note = leftOut(
    tooMany > 0 &&
      `${tooMany} of ${all.length} details, of which an error has ${maxDetails} at most`,
    lost > 0 && `${lost} of ${given.length} details, which cannot be encoded`,
    metadata === undefined && "metadata, which cannot be read",
  );
  const error = new ConnectError(
    (typeof text === "string" ? text : "") + note,
    isCode(code) ? code : Code.Unknown,
    metadata,
    undefined,
    thrown,
  );
  error.details = details;
  return error;
}

function checkDetail<T extends { readonly type: string; readonly value: Uint8Array }>(
  detail: T,
): T {
  if (typeof detail.type !== "string" || !(detail.value instanceof Uint8Array)) {
    throw new TypeError("no detail");
  }
  return detail;
}
