import { Code, ConnectError } from "@connectrpc/connect";
import type { Msg } from "@nats-io/nats-core";
import { refuseOtherDomainOnce } from "../link/domain.js";
import { getLast, pause } from "../link/jetstream.js";
import type { Link } from "../link/link.js";
import { Header, readAccepted, wholeNumber } from "../message/header.js";
import type { MethodBinding } from "../schema/binding.js";
import type { CallName } from "../schema/call-id.js";
import { type Entry, entrySubject, parseEntry, sequenceOf } from "./call-log.js";
import { deliveryOf } from "./log-reader.js";

/** What the server has of a call. */
export interface FoundCall {
  /** Last entry of its log. */
  readonly last: Entry | undefined;
  /** Its request, or what took its place when it was withdrawn, while that is queued. */
  readonly request: Msg | undefined;
  /** True when the call is to start later. */
  readonly isScheduled: boolean;
}

/** Subject on which a call's request is kept that is to start later. */
export function laterSubject(method: MethodBinding, call: CallName): string {
  return `${method.laterSubject}.${call.suffix}`;
}

/** Subject to which the request goes when it is due: `<prefix>.due.<queue>.<Method>…`. */
export function dueSubject(method: MethodBinding, queue: string, call: CallName): string {
  const { prefix } = method.service;
  return `${prefix}.due${queue.slice(prefix.length)}.${call.suffix}`;
}

/** The queue subject of a request that is due. */
export function queueOfDue(prefix: string, due: string): string {
  return prefix + due.slice(`${prefix}.due`.length);
}

/**
 * Looks for a call wherever it may be. Undefined when nothing is known of it. Throws
 * FailedPrecondition when its streams are in another JetStream domain.
 */
export async function findCall(
  link: Link,
  method: MethodBinding,
  call: CallName,
): Promise<FoundCall | undefined> {
  const { service } = method;
  await refuseOtherDomainOnce(link, method);
  const entry = () => lastEntry(link, method, call);
  const [first, later, ...queued] = await Promise.all([
    entry(),
    getLast(link, service.laterStream, laterSubject(method, call)),
    ...method.queues.flatMap(({ subject }) => [
      getLast(link, service.stream, `${subject}.${call.suffix}`),
      getLast(link, service.laterStream, dueSubject(method, subject, call)),
    ]),
  ]);
  const request = queued.find((found) => found !== undefined);
  // It may have left the queue between the looks: then its log tells.
  const last = first ?? (request || later ? undefined : await entry());
  if (!last && !request && !later) {
    return undefined;
  }
  return { last, request: request ?? later, isScheduled: !request && later !== undefined };
}

/** For how long one server of a cluster may know less than the others, in ms. */
export const lagMs = 3_000;

/**
 * The same for a call that ought to exist. It looks twice: the call may be moved to its
 * queue between the looks, and who answers may lag behind the rest of a cluster.
 */
export async function findKnownCall(
  link: Link,
  method: MethodBinding,
  call: CallName,
): Promise<FoundCall | undefined> {
  const giveUpAt = Date.now() + (method.service.replicas > 1 ? lagMs : 0);
  for (let retry = 0; ; retry++) {
    const found = await findCall(link, method, call);
    if (found || (retry > 0 && Date.now() >= giveUpAt)) {
      return found;
    }
    await pause(retry);
  }
}

/** Sequence of the latest request of a call that is queued, by any priority; 0 without one. */
export async function newestRequest(
  link: Link,
  { service, queues }: MethodBinding,
  call: CallName,
): Promise<number> {
  const found = await Promise.all(
    queues.map(({ subject }) => getLast(link, service.stream, `${subject}.${call.suffix}`)),
  );
  return Math.max(0, ...found.map((request) => (request && sequenceOf(request)) ?? 0));
}

/** The last entry of a call's log. Errors: those of getLast() and parseEntry(). */
export async function lastEntry(
  link: Link,
  method: Pick<MethodBinding, "logSubject" | "service">,
  call: CallName,
): Promise<Entry | undefined> {
  const last = await getLast(link, method.service.logStream, entrySubject(method, call));
  return last && parseEntry(last);
}

/**
 * The last entry of a log that is to have its end, whatever it holds: of one that cannot
 * be read no more is known than where it is.
 */
export async function lastOfAny(
  link: Link,
  method: Pick<MethodBinding, "logSubject" | "service">,
  call: CallName,
): Promise<Pick<Entry, "sequence" | "attempt"> & Partial<Entry>> {
  const last = await getLast(link, method.service.logStream, entrySubject(method, call));
  try {
    return last ? parseEntry(last) : { sequence: 0, attempt: 0 };
  } catch {
    return { sequence: (last && sequenceOf(last)) ?? 0, attempt: 0 };
  }
}

/** When the time of a call is over, in ms since 1970; undefined when it has no limit. */
export function deadlineOf({ request, isScheduled }: FoundCall): number | undefined {
  const timeoutMs = wholeNumber(request?.headers?.get(Header.timeout)) ?? 0;
  // The time of a call that starts later counts from its start.
  return request && timeoutMs > 0 && !isScheduled ? acceptedAt(request) + timeoutMs : undefined;
}

/** When the server accepted a call whose request was read from a stream, in ms since 1970. */
export function acceptedAt(request: Msg): number {
  return readAccepted(request.headers) ?? storedAt(request);
}

/** When a message was stored that was read from a stream, in ms since 1970, by the server's clock. */
export function storedAt(message: Msg): number {
  const timestamp = message.headers?.last(Header.timestamp);
  return timestamp ? Date.parse(timestamp) : deliveryOf(message).storedAtMs;
}

/** The error of a call that was there, and is not any more. */
export function goneError(method: MethodBinding, call: CallName): ConnectError {
  return new ConnectError(
    `${method.desc.toString()}: call "${call.callId}" of owner "${call.owner}" is gone: its queue or its log was purged or deleted, or its result is older than its retention`,
    Code.NotFound,
  );
}

/** The error of a call that cannot go on, or not be followed, as a part of it is gone. */
export function lostError(method: MethodBinding, call: CallName, what: string): ConnectError {
  return new ConnectError(
    `${method.desc.toString()}: call "${call.callId}" of owner "${call.owner}" ${what}: it was purged or deleted`,
    Code.DataLoss,
  );
}

/** The error of a call that nobody knows. */
export function notFound(method: MethodBinding, call: CallName): ConnectError {
  return new ConnectError(
    `${method.desc.toString()}: no call "${call.callId}" of owner "${call.owner}" is known: it was never accepted, or its result is older than its retention`,
    Code.NotFound,
  );
}
