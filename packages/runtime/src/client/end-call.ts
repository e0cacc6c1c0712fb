import { Code, type ConnectError } from "@connectrpc/connect";
import type { Msg } from "@nats-io/nats-core";
import type { Entry, Outcome } from "../ledger/call-log.js";
import { acceptedAt, findKnownCall, notFound } from "../ledger/call-search.js";
import { copyRequestHeaders } from "../ledger/dead-letter.js";
import { storeEnd } from "../ledger/end-entry.js";
import { isFull, publishStored, untilAnswered } from "../link/jetstream.js";
import type { Link } from "../link/link.js";
import { causedError } from "../message/caused-error.js";
import { Header } from "../message/header.js";
import { endError } from "../message/status.js";
import { releaseObjects } from "../objects/payload-store.js";
import type { MethodBinding } from "../schema/binding.js";
import type { CallName } from "../schema/call-id.js";

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
  outcome: Outcome & ("cancelled" | "expired"),
): Promise<Entry | undefined> {
  const progress = { isWithdrawn: false };
  // Whoever writes meanwhile makes it look again.
  return untilAnswered(link, () => tryToEnd(link, method, call, outcome, progress));
}

async function tryToEnd(
  link: Link,
  method: MethodBinding,
  call: CallName,
  outcome: "cancelled" | "expired",
  progress: { isWithdrawn: boolean },
): Promise<Entry | undefined> {
  const found = await findKnownCall(link, method, call);
  if (!found) {
    throw notFound(method, call);
  }
  const { last, request } = found;
  if (last?.kind === "end") {
    // A worker that finds what withdrew the request writes the end of its call.
    return progress.isWithdrawn && last.outcome === outcome ? undefined : last;
  }
  const place = request && placeOf(method, request);
  // A worker begins the common request without a look at the log: it must not find it.
  if (place?.isQueued && !place.request.headers?.has(Header.withdrawn)) {
    try {
      place.sequence = await withdraw(link, place, outcome);
      progress.isWithdrawn = true;
    } catch (error) {
      // In a cluster a full queue refuses what takes the place of a message as well.
      if (!isFull(error)) {
        throw error;
      }
      // Of a request that says so the log is looked at: the end there is enough.
      if (!place.request.headers?.has(Header.replay)) {
        throw stillFull(method, error);
      }
    }
  }
  await storeEnd(link, method, call, last, request, outcome, endError(outcome));
  // Whoever runs it looks at the log. Without the message it finds out when it writes.
  link.cancel(method.cancelSubject, call.suffix);
  if (place) {
    // Whoever finds it looks at the log: that it is gone soon makes room for others.
    void withdraw(link, place, outcome, withdrawnSeconds).catch(() => undefined);
    void releaseObjects(link, method, call, place.request).catch(() => undefined);
  }
  return undefined;
}

/** Unavailable: it is tried again as long as any other write that is not answered. */
function stillFull({ desc }: MethodBinding, cause: unknown): ConnectError {
  return causedError(
    `the queue of ${desc.toString()} is full, and in a cluster no request in it can be withdrawn until it has room: try again later, or raise max_queue_length`,
    Code.Unavailable,
    cause,
  );
}

/** Where a request lies. */
interface Place {
  readonly request: Msg;
  readonly subject: string;
  sequence: number;
  /** True in a queue; a request that is not due yet, or not moved, has its log read. */
  readonly isQueued: boolean;
}

function placeOf(method: MethodBinding, request: Msg): Place {
  const subject = request.headers?.get(Header.subject) ?? "";
  return {
    request,
    subject,
    sequence: Number(request.headers?.get(Header.sequence)),
    isQueued: method.queues.some((queue) => subject.startsWith(`${queue.subject}.`)),
  };
}

/**
 * Puts in the place of a request what is enough to write the end of its call: for
 * ever, with all that a dead letter needs if the call has failed meanwhile, or, when
 * the end is stored, for some seconds. Throws SequenceConflict when the request is
 * not there any more.
 */
function withdraw(
  link: Link,
  { request, subject, sequence }: Place,
  outcome: Outcome,
  seconds?: number,
): Promise<number> {
  const headers = copyRequestHeaders(request)
    .add(Header.accepted, acceptedAt(request))
    .add(Header.withdrawn, outcome)
    .add(Header.expectedLastSubjectSequence, sequence);
  if (seconds !== undefined) {
    headers.add(Header.ttl, `${seconds}s`);
  }
  const payload = seconds === undefined ? request.data : new Uint8Array(0);
  return publishStored(link, subject, payload, headers);
}
