import { base64Decode, base64Encode } from "@bufbuild/protobuf/wire";
import { ConnectError } from "@connectrpc/connect";
import { nuid } from "@nats-io/nats-core";
import { callApi, getLast, getNext, publishStored } from "../link/jetstream.js";
import type { Link } from "../link/link.js";
import { withStreams } from "../link/provision.js";
import type { StoredMessage } from "../link/stored-message.js";
import {
  Header,
  type HeaderBlock,
  headerSize,
  maxHeaderBytes,
  wholeNumber,
} from "../message/header.js";
import { objectsOf } from "../message/request-objects.js";
import { decodeStatus, decodeStatusBytes, encodeStatus } from "../message/status.js";
import { cutText, leftOut } from "../message/text.js";
import type { MethodBinding, ServiceBinding } from "../schema/binding.js";
import { anyOwner, type CallName, nameOfSuffix } from "../schema/call-id.js";
import { causeSubjectOf, deadSubjectOf } from "../schema/call-subjects.js";
import { requestSpace } from "../schema/object-name.js";
import { statusEnd } from "./ending.js";
import { appendEnd, Entry, type LoggedMethod, lastOfAny, tellEnd } from "./log.js";
import { isKept, StoredRequest } from "./stored-request.js";

/** Most bytes of a dead letter that its error takes; a larger one is cut. */
const errorLimit = 16 * 1024;

/** Fewest bytes that a dead letter needs besides its request. */
const errorReserve = 1024;

/** Bytes of the header that has the status, without it. */
const statusReserve = 32;

/** The method of a dead letter, or the rest of one that no schema has any more. */
export interface DeadMethod extends LoggedMethod, Pick<MethodBinding, "deadSubject"> {
  readonly desc: { readonly name: string };
}

/**
 * Keeps the request of a call that failed for good, with the reason: as much of that as
 * there is room for. Storing it again replaces it. Errors: those of publishStored().
 */
export async function storeDeadLetter(
  link: Link,
  method: DeadMethod,
  call: CallName,
  request: StoredRequest,
  error: ConnectError,
  attempts: number,
): Promise<void> {
  const subject = deadSubjectOf(method, call);
  let reason = error;
  let payload = request.data;
  let headers = request.copyHeaders();
  // Our clients leave room. A request that was made by hand may not, and has to end as well.
  if (headerSize(headers) + errorReserve > maxHeaderBytes) {
    const lost = leftOut("the headers of the request, which leave no room");
    reason = new ConnectError(cutText(error.rawMessage, errorLimit / 4) + lost, error.code);
    headers = request.copyHeaders(isKept);
  }
  if (payload.length + headerSize(headers) + errorReserve > link.maxPayload) {
    await storePayload(link, method, call, request, headers);
    payload = new Uint8Array(0);
  }
  headers.add(Header.attempts, attempts).add(Header.accepted, request.acceptedAtMs);
  const room = Math.min(
    errorLimit,
    Math.min(maxHeaderBytes, link.maxPayload - payload.length) - headerSize(headers),
  );
  // In base64 three bytes are four.
  const maxBytes = Math.floor((room * 3) / 4) - statusReserve;
  const status = encodeStatus(reason, { maxBytes, metadata: "letter" });
  headers.append(status.headers).add(Header.status, base64Encode(status.payload));
  await store(link, method, subject, payload, headers);
}

/** Keeps the text of what was thrown, where the caller is told less. Errors: those of publishStored(). */
export async function storeCause(
  link: Link,
  method: DeadMethod,
  call: CallName,
  text: string,
): Promise<void> {
  const payload = new TextEncoder().encode(text);
  await store(link, method, causeSubjectOf(method, call), payload);
}

async function store(
  link: Link,
  { service }: DeadMethod,
  subject: string,
  payload: Uint8Array,
  headers?: HeaderBlock,
): Promise<void> {
  await withStreams(link, service, () => publishStored(link, subject, payload, headers));
}

/** Stores the payload that a dead letter has no room for as an object of the request. */
async function storePayload(
  link: Link,
  method: DeadMethod,
  call: CallName,
  request: StoredRequest,
  headers: HeaderBlock,
): Promise<void> {
  const space = requestSpace(method, call);
  const own = objectsOf(request, space);
  const base = nuid.next();
  const name = own ? `${own.prefix}.${own.count}` : `${space}.${base}.0`;
  headers.add(Header.payload, await link.payloads.put(method.service, name, request.data, {}));
  // Where there are others, a sweep removes it with them.
  if (!own) {
    headers.add(Header.objects, `${base} 1`);
  }
}

/**
 * Ends a call that cannot be run: stores the end of its log, whatever that holds, and
 * then its dead letter. A call that has ended otherwise gets none. The request stays where
 * it is. Throws SequenceConflict when an attempt writes meanwhile.
 */
export async function buryCall(
  link: Link,
  method: DeadMethod,
  call: CallName,
  request: StoredRequest,
  error: ConnectError,
): Promise<void> {
  const last = await lastOfAny(link, method, call);
  const end = last instanceof Entry && last.kind === "end" ? last : undefined;
  if (end && end.outcome !== "failed") {
    return;
  }
  if (!end) {
    const beganAt = Date.now();
    await appendEnd(link, method, call, last, statusEnd(link, "failed", error, request));
    void tellEnd(link, method, call, "failed", request.acceptedAtMs, beganAt);
  }
  // The worker that made the end may not have come to store the dead letter.
  const reason = end ? decodeStatus(end.message) : error;
  await storeDeadLetter(link, method, call, request, reason, last.attempt);
}

/** Makes a dead letter of a request whose subject names no call: nobody can wait for it. */
export function buryStray(
  link: Link,
  method: DeadMethod,
  request: StoredRequest,
  error: ConnectError,
): Promise<void> {
  const stray = nameOfSuffix(`${anyOwner}.stray.${nuid.next()}`);
  return storeDeadLetter(link, method, stray, request, error, 0);
}

/** Reads the dead letter of a call. */
export async function findDeadLetter(
  link: Link,
  method: Pick<DeadMethod, "deadSubject" | "service">,
  call: CallName,
): Promise<StoredRequest | undefined> {
  return StoredRequest.of(
    await getLast(link, method.service.deadStream, deadSubjectOf(method, call)),
  );
}

/**
 * Reads the first dead letter of a service at a sequence or after it; undefined when there is
 * none. The filter is a subject with wildcards, below `<prefix>.dead`.
 */
export function nextDeadLetter(
  link: Link,
  { prefix, deadStream }: ServiceBinding,
  filter: string,
  from: number,
): Promise<StoredMessage | undefined> {
  return getNext(link, deadStream, `${prefix}.dead.${filter}`, from);
}

/** Reads the text of what a handler threw, beside the dead letter of its call. */
export async function readCause(
  link: Link,
  method: MethodBinding,
  call: CallName,
): Promise<StoredMessage | undefined> {
  return getLast(link, method.service.deadStream, causeSubjectOf(method, call));
}

/** Why the call of a dead letter failed. */
export function errorOf({ message, headers }: StoredMessage): ConnectError {
  let status: Uint8Array;
  try {
    status = base64Decode(headers?.get(Header.status) ?? "");
  } catch {
    status = new Uint8Array(0);
  }
  return decodeStatusBytes(message, status, "letter");
}

/** How many attempts the call of a dead letter had. */
export function attemptsOf({ headers }: StoredMessage): number {
  return wholeNumber(headers?.get(Header.attempts)) ?? 0;
}

/** Deletes a message of a stream; one that is gone already is fine. */
export async function deleteMessage(
  link: Link,
  stream: string,
  { sequence, subject }: StoredMessage,
): Promise<void> {
  try {
    await callApi(link, `STREAM.MSG.DELETE.${stream}`, { seq: sequence, no_erase: true });
  } catch (error) {
    // A call that is replayed and fails at once replaces its dead letter by another one.
    if ((await getNext(link, stream, subject, sequence))?.sequence === sequence) {
      throw error;
    }
  }
}
