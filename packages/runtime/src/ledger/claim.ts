import { Code, ConnectError } from "@connectrpc/connect";
import type { Link } from "../link/link.js";
import { pause, until } from "../link/until.js";
import { permanent } from "../message/error-marks.js";
import type { MethodBinding } from "../schema/binding.js";
import type { CallName } from "../schema/call-id.js";
import type { DeliveryCounts } from "./delivery-counts.js";
import { tellWorkers } from "./ending.js";
import { findQueued } from "./found-call.js";
import {
  type AttemptObjects,
  addObjects,
  addOrigin,
  type CallState,
  type Claim,
  isAsLate,
  isSame,
  type NewEntry,
} from "./log.js";
import type { LogWriter } from "./log-writer.js";
import { LostClaim } from "./lost-claim.js";
import type { DeliveredRequest, StoredRequest } from "./stored-request.js";

/**
 * Most deliveries by which a stored claim may be ahead of ours. More than that cannot have
 * been made while a process stood still: such a claim is ignored.
 */
const mostAhead = 16;

/** How certain it is that this is the first delivery of a request. */
export interface Doubts {
  /** It was handed out before, or the server may not know whether it was. */
  readonly isUnsure: boolean;
  /** It surely was handed out before. */
  readonly isRepeated: boolean;
  /** No other attempt can have begun that has left no entry yet. */
  readonly mayBeFirst: boolean;
  /** A claim that was stored at this time or before is of an earlier consumer; ms since 1970. */
  readonly unsureUntil: number;
}

/** Tells how certain that is: a server may have forgotten its count. */
export function doubtsOf(request: DeliveredRequest, counts: DeliveryCounts): Doubts {
  const { delivery, storedAtMs, isPutAgain } = request;
  const isDoubtful = storedAtMs <= counts.doubtfulUntil;
  const isRepeated = delivery > 1 || isPutAgain;
  return {
    isUnsure: delivery > 1 || isDoubtful || storedAtMs <= counts.unsureUntil,
    isRepeated,
    mayBeFirst: !isRepeated && !isDoubtful,
    unsureUntil: counts.unsureUntil,
  };
}

/** The entry that makes a call an attempt's own, with the objects that it is about to store. */
export function attemptEntry(request: StoredRequest, objects?: AttemptObjects): NewEntry {
  return {
    kind: "attempt",
    payload: new Uint8Array(0),
    headers: (block) => addOrigin(addObjects(block, objects), request),
  };
}

/**
 * Makes a call this attempt's own, and tells how many messages of its response are stored.
 *
 * Expects: the last entry of the log, as it was read.
 * Writes: `attempt`; nothing where the log is empty and this is the first attempt for sure.
 * May be answered: 10071 or 10164, the attempt before it has written; then it looks again.
 *
 * Throws LostClaim when the call has ended or a later attempt runs, and Internal, permanently,
 * when its attempts are used up.
 */
export async function claimCall(
  link: Link,
  method: MethodBinding,
  call: CallName,
  request: DeliveredRequest,
  writer: LogWriter,
  doubts: Doubts,
): Promise<number> {
  const claimed = () => {
    // A worker that was taken for lost, and is not, hears that it has lost its claim.
    tellWorkers(link, method, call);
    return writer.messages;
  };
  for (let isMade = false, retry = 0; ; retry++) {
    const state = await until(link, () => writer.readState());
    const { claim } = state;
    if (state.hasEnded) {
      throw new LostClaim(state.outcome);
    }
    if (claim && isAsLate(claim, writer.claim)) {
      if (isMade && isSame(claim, writer.claim)) {
        return claimed();
      }
      const isVoid =
        claim.request === writer.claim.request
          ? state.claimedAtMs <= doubts.unsureUntil ||
            claim.delivery - writer.claim.delivery > mostAhead
          : await isNewest(link, method, call, writer.claim);
      if (!isVoid) {
        // A later delivery was begun while this one lay in a process that stood still.
        throw new LostClaim(undefined);
      }
    }
    if (state.sequence === 0 && doubts.mayBeFirst) {
      return 0;
    }
    refuseFurther(method, state, writer, doubts);
    // The first attempt may leave no entry: it counts all the same.
    writer.writeAs(Math.max(1, state.attempt) + 1);
    if (retry > 0) {
      await pause(retry - 1);
    }
    isMade = true;
    if (await writer.claimAfter(state.attempt, attemptEntry(request))) {
      return claimed();
    }
  }
}

/**
 * True when no later request of the call is queued: no attempt can have made a claim of one.
 * Clients may write to their logs. To obey such a claim would be to drop the request each
 * time it comes.
 */
async function isNewest(
  link: Link,
  method: MethodBinding,
  call: CallName,
  { request }: Claim,
): Promise<boolean> {
  const queued = await until(link, () => findQueued(link, method, call));
  return Math.max(0, ...queued.map(({ sequence }) => sequence)) === request;
}

/** Throws when the attempts of a call are used up by workers that died without a word. */
function refuseFurther(
  { maxAttempts }: MethodBinding,
  { attempt, releases, sequence }: CallState,
  writer: LogWriter,
  { isRepeated }: Doubts,
): void {
  const made = Math.max(1, attempt);
  const spent = made - releases;
  // An attempt that only may have been made ends no call.
  const isCertain = sequence > 0 || isRepeated;
  if (spent >= maxAttempts && isCertain) {
    writer.writeAs(made);
    const text = `gave up after ${spent} attempts: the last worker was lost while it ran the call`;
    throw permanent(new ConnectError(text, Code.Internal));
  }
}
