import type { ConnectError } from "@connectrpc/connect";
import type { Watch } from "../link/observer.js";
import type { MessageLimits } from "../message/codec.js";
import { isConnectError } from "../message/thrown.js";
import type { MethodBinding } from "../schema/binding.js";
import { toCallerError } from "./caller-error.js";
import type { AnyHandler } from "./handler.js";
import type { LiveBytes } from "./live-bytes.js";
import { type Logger, logWatched } from "./logger.js";
import type { MethodStats } from "./method-stats.js";
import type { Responses } from "./responses.js";
import type { Slots } from "./slots.js";

/** The settings that all calls of a worker share. */
export interface WorkerSettings {
  readonly log: Logger;
  readonly limits: MessageLimits;
  /** Callers see the text of errors that are no ConnectErrors. */
  readonly revealErrors: boolean;
  /** As discovery shows it. */
  readonly version: string;
  /** Direct calls that run at once, of all methods. */
  readonly slots: Slots;
  /** The credentials do not allow to listen on a subject. */
  readonly onDenied: (subject: string, cause: Error) => void;
  /** Token of the subjects on which this worker alone listens. */
  readonly session: string;
  /** Sends the responses of unary direct calls. */
  readonly responses: Responses;
  /** Bounds the results of durable calls that clients hear live. */
  readonly liveBytes: LiveBytes;
}

/** A method that a worker serves. */
export interface ServedMethod {
  readonly method: MethodBinding;
  readonly handler: AnyHandler;
  readonly settings: WorkerSettings;
  readonly stats: MethodStats;
}

/** The error that a caller sees of what a handler threw; logs what is no ConnectError. Never throws. */
export function callerError(
  thrown: unknown,
  { method, settings: { log, revealErrors } }: ServedMethod,
  watch: Watch | undefined,
): ConnectError {
  if (!isConnectError(thrown)) {
    const record = {
      level: "error",
      message: "a handler threw what is no ConnectError",
      method: method.desc.toString(),
      error: thrown,
    } as const;
    logWatched(log, record, watch);
  }
  return toCallerError(thrown, revealErrors);
}

/** Logs that a caller could not be told how its call ended. */
export function reportUnsent({ method, settings: { log } }: ServedMethod, error: unknown): void {
  const message = "the end of a call could not be sent";
  log({ level: "error", message, method: method.desc.toString(), error });
}
