import { getNext } from "../link/jetstream.js";
import { consumerInfo } from "../link/jetstream-admin.js";
import { SequenceConflict } from "../link/jetstream-error.js";
import type { Link } from "../link/link.js";
import { Header, putAgain } from "../message/header.js";
import { methodNamed, type ServiceBinding } from "../schema/binding.js";
import type { ConsumerSettings } from "../schema/infrastructure.js";
import { addTarget, dueAtMs } from "./later.js";
import { Entry, lastOfAny } from "./log.js";
import { placeRequest, StoredRequest } from "./stored-request.js";

/** How late a call may start before its schedule counts as forgotten, in ms. */
const overdueMs = 10_000;

/** For how long a call has ended whose request should be gone, in ms. */
const endedMs = 10_000;

/** How far a consumer is in its stream. */
export interface Floor {
  /** All up to this sequence counts as acknowledged. */
  readonly acknowledged: number;
  /** All up to this one was handed out. */
  readonly delivered: number;
}

/** Reads how far a consumer is; a consumer that does not exist has handed out nothing. */
export async function readFloor(link: Link, stream: string, consumer: string): Promise<Floor> {
  const info = await consumerInfo(link, stream, consumer);
  return {
    acknowledged: info?.ack_floor.stream_seq ?? 0,
    delivered: info?.delivered.stream_seq ?? 0,
  };
}

/** Reads the first request of a consumer at a sequence or after it. */
export async function nextRequest(
  link: Link,
  stream: string,
  { filter_subject = "" }: Pick<ConsumerSettings, "filter_subject">,
  from: number,
): Promise<StoredRequest | undefined> {
  return StoredRequest.of(await getNext(link, stream, filter_subject, from));
}

/** Reads the first request that waits for its time, at a sequence or after it. */
export async function nextLater(
  link: Link,
  { prefix, laterStream }: ServiceBinding,
  from: number,
): Promise<StoredRequest | undefined> {
  return StoredRequest.of(await getNext(link, laterStream, `${prefix}.later.>`, from));
}

/** True when the schedule of a request should have made it due some time ago. */
export function isOverdue(request: StoredRequest): boolean {
  return Date.now() > dueAtMs(request) + overdueMs;
}

/** True when the call of a request has ended some time ago: it runs nowhere. */
export async function hasLongEnded(
  link: Link,
  service: ServiceBinding,
  request: StoredRequest,
): Promise<boolean> {
  const call = request.callOf(service);
  const method = methodNamed(service, request.methodNameOf(service));
  if (!call || !method || Date.now() - request.storedAtMs < endedMs) {
    return false;
  }
  const last = await lastOfAny(link, method, call);
  return last instanceof Entry && last.kind === "end" && Date.now() - last.storedAtMs > endedMs;
}

/**
 * Stores a forgotten request in its own place again, unless that has changed.
 *
 * Expects: the request where it was found. Of one that is due: an empty `later` subject; the
 * server alone may say whose schedule it was, and makes it due once more.
 * Writes: the request with `Jetrpc-Replay: 2`.
 * May be answered: 10071 or 10164, it has changed; 10054, 10077 and the like.
 *
 * Returns false when its place has changed. Throws what publishStored() throws.
 */
export async function putInAgain(link: Link, request: StoredRequest): Promise<boolean> {
  const { subject, sequence, data, acceptedAtMs } = request;
  const headers = request
    .copyHeaders()
    .add(Header.replay, putAgain)
    .add(Header.accepted, acceptedAtMs);
  const scheduler = request.headers?.get(Header.scheduler);
  if (scheduler) {
    addTarget(headers, 0, subject);
  } else {
    for (const name of [Header.withdrawn, Header.schedule, Header.scheduleTarget]) {
      const value = request.headers?.get(name);
      if (value) {
        headers.add(name, value);
      }
    }
  }
  try {
    await (scheduler
      ? placeRequest(link, scheduler, 0, data, headers)
      : placeRequest(link, subject, sequence, data, headers));
    return true;
  } catch (error) {
    if (error instanceof SequenceConflict) {
      return false;
    }
    throw error;
  }
}
