import { Code, ConnectError } from "@connectrpc/connect";
import { publishStored } from "../link/jetstream.js";
import { isFull, NoStream, SequenceConflict } from "../link/jetstream-error.js";
import type { Link } from "../link/link.js";
import { provisionMissingOnce } from "../link/provision.js";
import { until } from "../link/until.js";
import { causedError } from "../message/caused-error.js";
import { Header, HeaderBlock, headerSize } from "../message/header.js";
import type { MethodBinding, Queue } from "../schema/binding.js";
import type { CallName } from "../schema/call-id.js";
import { laterSubjectOf, queueSubjectOf } from "../schema/call-subjects.js";
import { type FoundCall, findCall } from "./found-call.js";
import { addSchedule } from "./later.js";
import { type AttemptObjects, addObjects } from "./log.js";
import { placeRequest } from "./stored-request.js";

/** A request that is to be accepted. */
export interface NewRequest {
  /** The message; empty when an object holds it. */
  readonly payload: Uint8Array;
  /** Reference to the object that holds the message. */
  readonly object: string | undefined;
  /** The objects that hold parts of it. */
  readonly objects: AttemptObjects | undefined;
  /** Tells it from another request with the same call id, where the caller gave that. */
  readonly digest: string | undefined;
  /** Time that the caller leaves for the call, in ms. */
  readonly timeoutMs: number | undefined;
  /** When it starts at the earliest. Undefined: at once. */
  readonly notBefore: Date | undefined;
  readonly metadata: HeaderBlock | undefined;
  /** How soon it has its turn. */
  readonly queue: Queue;
}

/** How {@link acceptCall} goes about it. */
export interface AcceptOptions {
  /** How long it tries to reach the server, in ms. Default: 30 s. */
  readonly timeoutMs: number | undefined;
  /** Called before each try. An error of it ends all tries. */
  readonly check: (() => void) | undefined;
}

/**
 * Stores a request in the queue of its method, or where it waits for its time. Returns what
 * was known of the call when it had been accepted before.
 *
 * Expects: an empty subject, where the call id may have been used before: one that its caller
 * gave, and each try after one whose answer was lost.
 * Writes: the request.
 * May be answered: 10071 or 10164, it was accepted before, or is being stored; 10077 and the
 * like, a full queue; 10054 or 10097, it never fits.
 *
 * Throws AlreadyExists when the call is another one, ResourceExhausted when the queue is full,
 * InvalidArgument for what never fits, Unavailable, DeadlineExceeded.
 */
export function acceptCall(
  link: Link,
  method: MethodBinding,
  call: CallName,
  request: NewRequest,
  options: AcceptOptions,
): Promise<FoundCall | undefined> {
  const subject = request.notBefore
    ? laterSubjectOf(method, call)
    : queueSubjectOf(request.queue, call);
  const refused = async (error: unknown) => {
    if (!(error instanceof SequenceConflict) && !isFull(error)) {
      throw error;
    }
    // It may be there since a try whose answer was lost.
    const found = await findAccepted(link, method, call, request.digest);
    if (!found) {
      // A write under way that was not stored in the end; or a queue that is full.
      throw isFull(error) ? queueFull(method, error) : error;
    }
    return found;
  };
  const store = (retry: number) =>
    place(link, subject, request, method, call, retry > 0).then(unknown, refused);
  // The first call of a service may come before its first worker.
  const makeStream = () => provisionMissingOnce(link, method);
  return until(link, store, { ...options, makeStream }).catch((error) => {
    throw error instanceof NoStream || error instanceof SequenceConflict
      ? causedError(`${method.desc.toString()}: ${error.message}`, Code.Unavailable, error)
      : error;
  });
}

/** Nothing was known of a call that was stored now. */
function unknown(): undefined {}

/** The most bytes that the headers of a request may have: those of its place included. */
export function requestHeaderSize(
  method: MethodBinding,
  call: CallName,
  request: NewRequest,
): number {
  const headers = requestHeaders(method, call, request).add(Header.replay, 1);
  return headerSize(headers.add(Header.expectedLastSubjectSequence, 0));
}

function place(
  link: Link,
  subject: string,
  request: NewRequest,
  method: MethodBinding,
  call: CallName,
  isRetry: boolean,
): Promise<number> {
  const headers = requestHeaders(method, call, request);
  const { payload, digest, notBefore } = request;
  // The common request has no header, and costs no look at what is there.
  if (!isRetry && digest === undefined && !notBefore) {
    return publishStored(link, subject, payload, headers.isEmpty ? undefined : headers);
  }
  return placeRequest(link, subject, 0, payload, headers.add(Header.replay, 1));
}

/** The headers of a request, but for those of its place. */
function requestHeaders(
  method: MethodBinding,
  call: CallName,
  { timeoutMs, digest, notBefore, queue, object, objects, metadata }: Omit<NewRequest, "payload">,
): HeaderBlock {
  const headers = new HeaderBlock();
  if (timeoutMs !== undefined && timeoutMs > 0) {
    headers.addTimeout(timeoutMs);
  }
  if (digest !== undefined) {
    headers.add(Header.digest, digest);
  }
  if (notBefore) {
    addSchedule(headers, method, queue, call, notBefore);
  }
  if (object !== undefined) {
    headers.add(Header.payload, object);
  }
  return addObjects(headers, objects).append(metadata);
}

/**
 * Looks whether a call was accepted before. Throws AlreadyExists when it was with another
 * request.
 */
export async function findAccepted(
  link: Link,
  method: MethodBinding,
  call: CallName,
  digest: string | undefined,
): Promise<FoundCall | undefined> {
  const found = await until(link, () => findCall(link, method, call));
  const other = (found?.request ?? found?.last)?.digest;
  if (other && digest !== undefined && other !== digest) {
    throw new ConnectError(
      `${method.desc.toString()}: call "${call.callId}" exists with another request: use another call id, or attach to it`,
      Code.AlreadyExists,
    );
  }
  return found;
}

function queueFull(method: MethodBinding, cause: unknown): ConnectError {
  return causedError(
    `${method.desc.toString()}: the queue takes no more calls (${ConnectError.from(cause).rawMessage}): add workers, submit later, or raise max_queue_length or the server's limits`,
    Code.ResourceExhausted,
    cause,
  );
}
