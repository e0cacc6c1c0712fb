import { getLast } from "../link/jetstream.js";
import { SequenceConflict } from "../link/jetstream-error.js";
import type { Link } from "../link/link.js";
import { withStreams } from "../link/provision.js";
import { Header, type HeaderBlock, readAccepted } from "../message/header.js";
import type { MethodBinding, Queue, ServiceBinding } from "../schema/binding.js";
import type { CallName } from "../schema/call-id.js";
import { dueSubjectOf, laterSubjectOfDue, queueSubjectOfDue } from "../schema/call-subjects.js";
import { placeRequest, type StoredRequest } from "./stored-request.js";

/** Adds when the server makes a request due, and where: the request is kept until then. */
export function addSchedule(
  headers: HeaderBlock,
  method: MethodBinding,
  queue: Queue,
  call: CallName,
  notBefore: Date,
): HeaderBlock {
  return addTarget(headers, Number(notBefore), dueSubjectOf(method, queue, call));
}

/** The same by subject. A time before 1970 is one that the server does not read. */
export function addTarget(headers: HeaderBlock, atMs: number, dueSubject: string): HeaderBlock {
  return headers
    .add(Header.schedule, `@at ${new Date(Math.max(0, atMs)).toISOString()}`)
    .add(Header.scheduleTarget, dueSubject);
}

/** When a request that waits for its time is due, in ms since 1970; NaN for what has no time. */
export function dueAtMs({ headers }: StoredRequest): number {
  return Date.parse(headers?.get(Header.schedule).slice("@at ".length) ?? "");
}

/**
 * True when a call became due by its own schedule. The server says whose it was; a
 * schedule may name any target, and permissions do not bind it to its owner.
 */
export function isDueByItself(service: ServiceBinding, { subject, headers }: StoredRequest) {
  return headers?.get(Header.scheduler) === laterSubjectOfDue(service, subject);
}

/**
 * Moves a request that is due to its queue. It stays where it was, too.
 *
 * Expects: an empty queue subject.
 * Writes: the request with `Jetrpc-Replay: 1`.
 * May be answered: 10071 or 10164, it was moved before, or is being moved; 10077, a full
 * queue; 10054 or 10097, it never fits.
 */
export async function queueDue(
  link: Link,
  service: ServiceBinding,
  request: StoredRequest,
): Promise<void> {
  const subject = queueSubjectOfDue(service, request.subject);
  const accepted = readAccepted(request.headers);
  const place = () => {
    const headers = request.copyHeaders().add(Header.replay, 1);
    if (accepted !== undefined) {
      // It was due before, and forgotten.
      headers.add(Header.accepted, accepted);
    }
    return placeRequest(link, subject, 0, request.data, headers);
  };
  try {
    await withStreams(link, service, place);
  } catch (error) {
    // It is there already when its acknowledgement was lost.
    const isTaken = error instanceof SequenceConflict;
    if (!(isTaken && (await getLast(link, service.stream, subject)))) {
      throw error;
    }
  }
}
