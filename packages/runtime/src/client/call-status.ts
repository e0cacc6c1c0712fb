import type { ConnectError } from "@connectrpc/connect";
import type { Progress } from "../gen/jetrpc/v1/call_pb.js";
import { endCall } from "../ledger/ending.js";
import { deadlineOf, type FoundCall, findKnownCall, notFound } from "../ledger/found-call.js";
import { readKnown } from "../ledger/known-call.js";
import type { AttemptStatus, CallStateName } from "../ledger/status-fold.js";
import type { Link } from "../link/link.js";
import type { MethodBinding } from "../schema/binding.js";
import type { CallName } from "../schema/call-id.js";

/** How far a durable call is. */
export interface CallStatus {
  /**
   * A call whose first attempt began less than a quarter of a second ago may
   * still be shown as queued.
   */
  readonly state: CallStateName;
  /** When the server accepted it; unknown for some that were canceled. */
  readonly acceptedAt?: Date;
  readonly endedAt?: Date;
  /** Attempts so far. A first one that succeeds at once leaves no trace but the end. */
  readonly attempts: readonly AttemptStatus[];
  /** Messages of a streamed response that are stored. */
  readonly messages: number;
  /** The last report of the handler. */
  readonly progress?: Progress;
  /** The error of a call that did not succeed, without details. */
  readonly error?: ConnectError;
  /**
   * Of a call that waits for a worker, `queued` or `retrying`: how many running workers
   * serve its method. Absent when that could not be found out.
   */
  readonly workers?: number;
}

/**
 * Reads how far a call is; ends it first when its time is over. Errors: NotFound;
 * Unavailable; DataLoss when its log or its progress holds what cannot be read.
 */
export async function readStatus(
  link: Link,
  method: MethodBinding,
  call: CallName,
): Promise<CallStatus> {
  const found = await findInTime(link, method, call);
  const { fold, progress, workers } = await readKnown(link, method, call, found);
  const { request, isScheduled } = found;
  const accepted = fold.acceptedAt ?? request?.acceptedAtMs;
  return {
    state: fold.state ?? (isScheduled ? "scheduled" : "queued"),
    ...(accepted !== undefined && { acceptedAt: new Date(accepted) }),
    ...(fold.endedAt && { endedAt: fold.endedAt }),
    attempts: [...fold.attempts.values()],
    messages: fold.messages,
    ...(progress && { progress }),
    ...(fold.error && { error: fold.error }),
    ...(workers !== undefined && { workers }),
  };
}

async function findInTime(link: Link, method: MethodBinding, call: CallName): Promise<FoundCall> {
  for (;;) {
    const found = await findKnownCall(link, method, call);
    if (!found) {
      throw notFound(method, call);
    }
    const deadline = deadlineOf(found);
    if (found.last?.kind === "end" || deadline === undefined || link.clock.nowMs < deadline) {
      return found;
    }
    await endCall(link, method, call, "expired");
  }
}
