import { Code, type ConnectError } from "@connectrpc/connect";
import { isFull } from "../link/jetstream-error.js";
import type { Link } from "../link/link.js";
import { isTransient, until } from "../link/until.js";
import { causedError } from "../message/caused-error.js";
import { Header } from "../message/header.js";
import { encodeStatus, endError, type WireStatus } from "../message/status.js";
import { releaseObjects } from "../objects/payload-store.js";
import type { MethodBinding } from "../schema/binding.js";
import type { CallName } from "../schema/call-id.js";
import { findKnownCall, notFound } from "./found-call.js";
import { addOrigin, appendEnd, type Entry, type NewEnd, type Outcome, tellEnd } from "./log.js";
import { placeRequest, type StoredRequest, type Withdrawal } from "./stored-request.js";

/** How long what withdraws a request stays in its place, in s. */
const withdrawnSeconds = 1;

/**
 * Ends a call from outside: its log gets its end, unless it has one. A queued
 * call never runs then, and a running one is told.
 *
 * Returns the end that was there already, undefined when this made the end.
 * Errors: NotFound; Unavailable.
 */
export function endCall(
  link: Link,
  method: MethodBinding,
  call: CallName,
  outcome: Withdrawal,
): Promise<Entry | undefined> {
  const progress = { mayBeOwn: false };
  // When somebody writes meanwhile it looks again.
  return until(link, () => tryToEnd(link, method, call, outcome, progress));
}

/**
 * Expects: the request where it was found, and the last entry of the log.
 * Writes: the withdrawal in place of a queued request; `end`; the withdrawal once more, for
 * a moment.
 * May be answered: 10071 or 10164, another one was faster; 10077, a full queue of a cluster.
 */
async function tryToEnd(
  link: Link,
  method: MethodBinding,
  call: CallName,
  outcome: Withdrawal,
  progress: { mayBeOwn: boolean },
): Promise<Entry | undefined> {
  const found = await findKnownCall(link, method, call);
  if (!found) {
    throw notFound(method, call);
  }
  const { last, request } = found;
  if (last?.kind === "end") {
    // A worker that finds what withdrew the request writes the end; and the answer to an own one may be lost.
    return progress.mayBeOwn && last.outcome === outcome ? undefined : last;
  }
  let sequence = request?.sequence ?? 0;
  // A worker starts the common request without a look at the log: so take the request away first.
  if (request && isQueued(method, request) && !request.withdrawn) {
    try {
      sequence = await withdraw(link, request, sequence, outcome);
      progress.mayBeOwn = true;
    } catch (error) {
      progress.mayBeOwn ||= isTransient(error);
      // In a cluster a full queue refuses what takes the place of a message as well.
      if (!isFull(error)) {
        throw error;
      }
      // A request with Jetrpc-Replay is not run before its log is read: the end there is enough.
      if (!request.isReplay) {
        throw stillFull(method, error);
      }
    }
  }
  const end = statusEnd(link, outcome, endError(outcome), request);
  const beganAt = Date.now();
  await appendEnd(link, method, call, last, end).catch((error) => {
    progress.mayBeOwn ||= isTransient(error);
    throw error;
  });
  const acceptedAtMs = request?.acceptedAtMs ?? last?.acceptedAtMs;
  void tellEnd(link, method, call, outcome, acceptedAtMs, beganAt);
  tellWorkers(link, method, call);
  if (request) {
    // It is gone soon, which makes room for others: a worker that finds it looks at the log.
    void withdraw(link, request, sequence, outcome, withdrawnSeconds).catch(() => undefined);
    void releaseObjects(link, method, call, request).catch(() => undefined);
  }
  return undefined;
}

/**
 * Tells the workers that the log of a call has changed: the one that runs it looks there, and
 * stops. One that does not hear it finds out when it writes. The subject is that of
 * cancellations, also where a later attempt has claimed the call.
 */
export function tellWorkers(link: Link, { cancelSubject }: MethodBinding, call: CallName): void {
  link.cancel(cancelSubject, call.suffix);
}

/** The `end` of a call that did not succeed; `header` is what its response would have had. */
export function statusEnd(
  link: Link,
  outcome: Outcome,
  error: ConnectError,
  request: StoredRequest | undefined,
  header?: Headers,
): NewEnd {
  const { headers, payload } = entryStatus(link, error, header);
  return {
    kind: "end",
    outcome,
    payload,
    headers: (block) => {
      block.append(headers);
      return request ? addOrigin(block, request) : block;
    },
  };
}

/** Bytes of a log entry's own headers. */
const entryReserve = 1024;

/** An error as a log entry has it; `header` is what the response would have had. */
export function entryStatus(link: Link, error: ConnectError, header?: Headers): WireStatus {
  return encodeStatus(error, { maxBytes: link.maxPayload - entryReserve, header });
}

/** Unavailable: it is tried again as long as any other write that is not answered. */
function stillFull({ desc }: MethodBinding, cause: unknown): ConnectError {
  return causedError(
    `the queue of ${desc.toString()} is full, and in a cluster no request in it can be withdrawn until it has room: try again later, or raise max_queue_length`,
    Code.Unavailable,
    cause,
  );
}

/** False for a request that is not due yet, or not moved: its log is read before it runs. */
function isQueued({ queues }: MethodBinding, { subject }: StoredRequest): boolean {
  return queues.some((queue) => subject.startsWith(`${queue.subject}.`));
}

/**
 * Puts in the place of a request what is enough to write the end of its call. Without
 * `seconds` it stays, with all that a dead letter needs if the call has failed meanwhile. With
 * `seconds`, for an end that is stored, it is small and goes after that time. Throws
 * SequenceConflict when the request is not there any more.
 */
function withdraw(
  link: Link,
  request: StoredRequest,
  sequence: number,
  outcome: Withdrawal,
  seconds?: number,
): Promise<number> {
  const headers = request
    .copyHeaders()
    .add(Header.accepted, request.acceptedAtMs)
    .add(Header.withdrawn, outcome);
  if (seconds !== undefined) {
    headers.add(Header.ttl, `${seconds}s`);
  }
  const payload = seconds === undefined ? request.data : new Uint8Array(0);
  return placeRequest(link, request.subject, sequence, payload, headers);
}
