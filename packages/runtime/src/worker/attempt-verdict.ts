import { Code, ConnectError } from "@connectrpc/connect";
import { isMalformed } from "../ledger/log.js";
import { LostClaim, LostEntries } from "../ledger/lost-claim.js";
import { isRetried, retryDelayOf, toDelayMs } from "../message/error-marks.js";
import { endError } from "../message/status.js";
import { isConnectError } from "../message/thrown.js";
import type { MethodBinding } from "../schema/binding.js";
import { toCallerError } from "./caller-error.js";

/** The act that follows from the failure of an attempt. */
export type Verdict =
  /** Another attempt follows, in so many ms. */
  | { readonly kind: "retry"; readonly error: ConnectError; readonly delayMs: number }
  /** The call ends with its error, and becomes a dead letter. */
  | {
      readonly kind: "fail";
      readonly error: ConnectError;
      readonly isBug: boolean;
      readonly isRetryable: boolean;
    }
  /** The call ends because its time is over. */
  | { readonly kind: "expire"; readonly error: ConnectError }
  /** The worker stops: the call is given back, and this counts as no attempt. */
  | { readonly kind: "release" }
  /** The call is another attempt's, or has ended. */
  | { readonly kind: "yield"; readonly lost: LostClaim }
  /** The call ends, as its log cannot be read. */
  | { readonly kind: "bury"; readonly error: ConnectError }
  /** The server has lost entries of the log: the call is given back for another attempt. */
  | { readonly kind: "recall"; readonly error: LostEntries };

/** Stops an attempt because its worker stops. */
export const shutdown = new ConnectError("the worker stops", Code.Unavailable);

/** Stops an attempt because the time of its call is over. */
export class Expired extends Error {
  toConnectError(): ConnectError {
    return endError("expired");
  }
}

/** The facts of an attempt that decide whether another one follows. */
export interface Attempted {
  /** Its number, from 1. */
  readonly attempt: number;
  readonly hasAttemptsLeft: boolean;
}

/**
 * Decides by the options of its method which act follows from the failure of an attempt: the
 * error of its handler, or the reason for which it was stopped.
 */
export function verdictOf(
  thrown: unknown,
  method: MethodBinding,
  attempted: Attempted,
  revealErrors: boolean,
): Verdict {
  if (thrown === shutdown) {
    return { kind: "release" };
  }
  if (thrown instanceof LostClaim) {
    return { kind: "yield", lost: thrown };
  }
  if (thrown instanceof Expired) {
    return { kind: "expire", error: thrown.toConnectError() };
  }
  if (isMalformed(thrown)) {
    return { kind: "bury", error: thrown };
  }
  if (thrown instanceof LostEntries) {
    return { kind: "recall", error: thrown };
  }
  return failure(thrown, method, attempted, revealErrors);
}

function failure(
  thrown: unknown,
  method: MethodBinding,
  { attempt, hasAttemptsLeft }: Attempted,
  revealErrors: boolean,
): Verdict {
  const error = toCallerError(thrown, revealErrors);
  const mayRetry = isRetried(error, method.retryCodes);
  if (mayRetry && hasAttemptsLeft) {
    return { kind: "retry", error, delayMs: retryDelayOf(error) ?? backoffMs(method, attempt) };
  }
  return { kind: "fail", error, isBug: !isConnectError(thrown), isRetryable: mayRetry };
}

/** Wait after an attempt, in ms, varied at random by up to 20 %. */
function backoffMs({ backoffMs }: MethodBinding, attempt: number): number {
  const wait = backoffMs[Math.min(attempt, backoffMs.length) - 1] ?? 0;
  return toDelayMs(wait * (0.8 + 0.4 * Math.random())) ?? 0;
}
