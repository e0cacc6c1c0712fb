import { base64Decode, base64Encode } from "@bufbuild/protobuf/wire";
import { ConnectError } from "@connectrpc/connect";
import { type Msg, nuid } from "@nats-io/nats-core";
import type { Link } from "../link/link.js";
import { publishInto } from "../link/provision.js";
import { Header, HeaderBlock, headerSize, maxHeaderBytes } from "../message/header.js";
import { cutText, decodeStatusBytes, encodeStatus, leftOut } from "../message/status.js";
import { objectsOf } from "../objects/payload-store.js";
import type { MethodBinding } from "../schema/binding.js";
import { nameOfSuffix } from "../schema/call-id.js";
import { requestSpace } from "../schema/object-name.js";

/** Most bytes of a dead letter that its error takes; a larger one is cut. */
const errorLimit = 16 * 1024;

/** Fewest bytes that a dead letter needs besides its request. */
const errorReserve = 1024;

/** Bytes of the header that has the status, without it. */
const statusReserve = 32;

/** What a dead letter keeps of its request besides metadata. */
const kept: readonly string[] = [
  Header.timeout,
  Header.digest,
  Header.payload,
  Header.objects,
  Header.contentType,
].map((name) => name.toLowerCase());

/** The method of a dead letter, or what is left of one that no schema has any more. */
export interface DeadMethod extends Pick<MethodBinding, "deadSubject" | "service"> {
  readonly desc: { readonly name: string };
}

/**
 * Keeps the request of a call that failed for good, with the reason: as much of that as
 * there is room for. Storing it again replaces it. Errors: those of {@link publishInto}.
 */
export async function storeDeadLetter(
  link: Link,
  method: DeadMethod,
  suffix: string,
  request: Msg,
  error: ConnectError,
  attempts: number,
  acceptedAtMs: number,
): Promise<void> {
  const subject = `${method.deadSubject}.${suffix}`;
  let reason = error;
  let payload = request.data;
  let headers = copyRequestHeaders(request);
  // Our clients leave room. A request that was made by hand may not, and has to end as well.
  if (headerSize(headers) + errorReserve > maxHeaderBytes) {
    const lost = leftOut("the headers of the request, which leave no room");
    reason = new ConnectError(cutText(error.rawMessage, errorLimit / 4) + lost, error.code);
    headers = copyRequestHeaders(request, isKept);
  }
  if (payload.length + headerSize(headers) + errorReserve > link.maxPayload) {
    await storePayload(link, method, suffix, request, headers);
    payload = new Uint8Array(0);
  }
  headers.add(Header.attempts, attempts).add(Header.accepted, acceptedAtMs);
  const room = Math.min(
    errorLimit,
    Math.min(maxHeaderBytes, link.maxPayload - payload.length) - headerSize(headers),
  );
  // In base64 three bytes are four.
  const maxBytes = Math.floor((room * 3) / 4) - statusReserve;
  const status = encodeStatus(reason, { maxBytes, metadata: "letter" });
  headers.append(status.headers).add(Header.status, base64Encode(status.payload));
  await publishInto(link, method.service, subject, payload, headers);
}

/**
 * Where the text of what a handler threw is kept, beside the dead letter: its caller may read
 * that, and not this. No owner is called so.
 */
export function causeSubject({ deadSubject }: Pick<DeadMethod, "deadSubject">, suffix: string) {
  return `${deadSubject}.$cause.${suffix}`;
}

/** Keeps the text of what was thrown, where the caller is told less. Errors: those of {@link publishInto}. */
export async function storeCause(
  link: Link,
  method: DeadMethod,
  suffix: string,
  text: string,
): Promise<void> {
  const headers = new HeaderBlock();
  await publishInto(
    link,
    method.service,
    causeSubject(method, suffix),
    encoder.encode(text),
    headers,
  );
}

const encoder = new TextEncoder();

/** Stores the payload that a dead letter has no room for as an object of the request. */
async function storePayload(
  link: Link,
  method: DeadMethod,
  suffix: string,
  request: Msg,
  headers: HeaderBlock,
): Promise<void> {
  const space = requestSpace(method, nameOfSuffix(suffix));
  const own = objectsOf(request, space);
  const base = nuid.next();
  const name = own ? `${own.prefix}.${own.count}` : `${space}.${base}.0`;
  headers.add(Header.payload, await link.payloads.put(method.service, name, request.data, {}));
  // Where there are others, a sweep removes it with them.
  if (!own) {
    headers.add(Header.objects, `${base} 1`);
  }
}

/** The headers of a request that belong to it wherever it lies. */
export function copyRequestHeaders(request: Msg, isWanted = isOfRequest): HeaderBlock {
  const headers = new HeaderBlock();
  for (const [name, values] of request.headers ?? []) {
    if (isWanted(name)) {
      for (const value of values) {
        headers.add(name, value);
      }
    }
  }
  return headers;
}

function isOfRequest(name: string): boolean {
  return isKept(name) || !/^(nats|jetrpc)-/i.test(name);
}

function isKept(name: string): boolean {
  return kept.includes(name.toLowerCase());
}

/** Why the call of a dead letter failed. */
export function errorOf(letter: Msg): ConnectError {
  let status: Uint8Array;
  try {
    status = base64Decode(letter.headers?.get(Header.status) ?? "");
  } catch {
    status = new Uint8Array(0);
  }
  return decodeStatusBytes(letter, status, "letter");
}
