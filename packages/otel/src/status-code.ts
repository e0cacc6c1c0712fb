import { Code, type ConnectError } from "@jetrpc/runtime";
import { codeName } from "@jetrpc/runtime/schema";
import type { Attributes } from "@opentelemetry/api";
import { Attr } from "./conventions.js";

/** The code of an error as gRPC spells it, `NOT_FOUND`; `OK` where there is none. */
export function statusCode(error: ConnectError | undefined): string {
  if (!error) {
    return "OK";
  }
  return error.code === Code.Canceled ? "CANCELLED" : codeName(error.code).toUpperCase();
}

/** Codes that a server counts as its own faults, as gRPC's conventions say. */
const faults: ReadonlySet<Code> = new Set([
  Code.Unknown,
  Code.DeadlineExceeded,
  Code.Unimplemented,
  Code.Internal,
  Code.Unavailable,
  Code.DataLoss,
]);

/** True when a worker that answers a direct call with it has failed. */
export function isFault(error: ConnectError): boolean {
  return faults.has(error.code);
}

/** True when a caller that gets it has failed: to leave is no failure. */
export function isFailure(error: ConnectError): boolean {
  return error.code !== Code.Canceled;
}

/** `error.type` of an error that is one; nothing for all others. */
export function errorType(
  error: ConnectError | undefined,
  isError: (error: ConnectError) => boolean,
): Attributes {
  return error && isError(error) ? { [Attr.errorType]: statusCode(error) } : {};
}
