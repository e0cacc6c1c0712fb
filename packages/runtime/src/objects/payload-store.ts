import { Code, ConnectError } from "@connectrpc/connect";
import type { MsgHdrs } from "@nats-io/nats-core";
import { getLast } from "../link/jetstream.js";
import type { Link } from "../link/link.js";
import { createSecret } from "../link/secret.js";
import { permanent } from "../message/error-marks.js";
import { Header, quote, wholeNumber } from "../message/header.js";
import type { MethodBinding, ServiceBinding } from "../schema/binding.js";
import type { CallName } from "../schema/call-id.js";
import {
  bucketStream,
  checkSpace,
  chunkSubject,
  directSpace,
  requestSpace,
} from "../schema/object-name.js";
import { readObject } from "./object-reader.js";
import { type StoredObject, type WriteOptions, writeObject } from "./object-writer.js";
import { removeObject } from "./remove-object.js";

const dayMs = 24 * 3_600_000;

/** Most bytes of a payload: 4 GiB, as in Connect. */
const largestPayload = 0xffffffff;

/** Most objects that one request has. */
export const maxObjects = 10_000;

/** A message whose payload may be an object. */
interface Payload {
  readonly data: Uint8Array;
  readonly headers?: MsgHdrs | undefined;
}

/**
 * Keeps payloads above the server's max_payload in the Object Store bucket of
 * their service; the message then carries a reference in their place: name of the
 * object, size and digest.
 */
export class PayloadStore {
  constructor(private readonly link: Link) {}

  /** Stores the payload of a direct call and returns its reference. */
  putDirect(method: MethodBinding, payload: Uint8Array): Promise<string> {
    // The caller removes it after the call; the server does where both have crashed.
    const ttlMs = method.timeoutMs + dayMs;
    return this.put(method.service, `${directSpace(method)}.${createSecret()}`, payload, { ttlMs });
  }

  /** Stores a payload and returns its reference. */
  async put(
    service: ServiceBinding,
    name: string,
    payload: Uint8Array,
    options: WriteOptions,
  ): Promise<string> {
    const open = async function* () {
      yield payload;
    };
    const { size, digest } = await writeObject(this.link, service, name, open, options);
    return `${name} ${size} ${digest}`;
  }

  /**
   * Reads a payload. Throws DataLoss when its object is gone, PermissionDenied
   * when its name does not begin with `space`, InvalidArgument for what is no
   * reference, and ResourceExhausted when it has more than `maxBytes`.
   */
  async get(
    service: ServiceBinding,
    reference: string,
    space: string,
    maxBytes: number = largestPayload,
  ): Promise<Uint8Array> {
    const object = parseReference(reference);
    checkSpace(object.name, space);
    if (object.size > maxBytes) {
      const text = `a payload of ${object.size} bytes is larger than readMaxBytes, ${maxBytes}`;
      throw permanent(new ConnectError(text, Code.ResourceExhausted));
    }
    const chunks: Uint8Array[] = [];
    for await (const chunk of readObject(this.link, service, object)) {
      chunks.push(chunk);
    }
    // Only now: the size that a sender names is not to be believed before it has come.
    const payload = new Uint8Array(object.size);
    let at = 0;
    for (const chunk of chunks) {
      payload.set(chunk, at);
      at += chunk.length;
    }
    return payload;
  }

  /** The payload of a message, wherever it is kept. Errors: see {@link get}. */
  async load(
    service: ServiceBinding,
    message: Payload,
    space: string,
    maxBytes?: number,
  ): Promise<Uint8Array> {
    const reference = message.headers?.get(Header.payload);
    return reference ? await this.get(service, reference, space, maxBytes) : message.data;
  }

  /** Removes a payload that nobody needs any more. */
  delete(service: ServiceBinding, reference: string): void {
    removeObject(this.link, service, reference.split(" ")[0] ?? "");
  }
}

/** Reads the value of {@link Header.payload}: name, size and digest of an object. */
function parseReference(reference: string): StoredObject {
  const [, name = "", length, digest = ""] = /^(\S+) (\d+) (\S+)$/.exec(reference) ?? [];
  const size = wholeNumber(length);
  if (size === undefined) {
    throw new ConnectError(
      `${Header.payload} is ${quote(reference)}, and must be the name of an object, its size and its digest`,
      Code.InvalidArgument,
    );
  }
  return { name, size, digest };
}

/** The objects of one submission of a request. */
export interface RequestObjects {
  /** The beginning of their names, before the dot and their number. */
  readonly prefix: string;
  readonly count: number;
}

/** The objects that the header of a request tells of; `space` is that of its call. */
export function objectsOf(request: Payload, space: string): RequestObjects | undefined {
  const text = request.headers?.get(Header.objects) ?? "";
  const [, base, digits] = /^([\w-]+) (\d+)$/.exec(text) ?? [];
  const count = wholeNumber(digits);
  return count !== undefined && count <= maxObjects
    ? { prefix: `${space}.${base}`, count }
    : undefined;
}

/** Removes the objects of one submission or attempt, from one of them on. */
export function removeObjects(
  link: Link,
  service: ServiceBinding,
  { prefix, count }: RequestObjects,
  first = 0,
): void {
  for (let index = first; index < count; index++) {
    removeObject(link, service, `${prefix}.${index}`);
  }
}

/** Looks how many objects are there whose names begin with a prefix, the first of them unseen. */
export async function countObjects(
  link: Link,
  { service }: MethodBinding,
  prefix: string,
  first: number,
): Promise<number> {
  for (let index = first; ; index++) {
    const chunks = chunkSubject(service, `${prefix}.${index}`);
    if (!(await getLast(link, bucketStream(service), chunks))?.headers?.has(Header.chunk)) {
      return index;
    }
  }
}

/** Removes the objects of a request whose call has ended, unless its dead letter has them. */
export async function releaseObjects(
  link: Link,
  method: MethodBinding,
  call: CallName,
  request: Payload,
): Promise<void> {
  const objects = objectsOf(request, requestSpace(method, call));
  if (objects) {
    // That of an earlier call may: the same id and request have the same objects.
    const subject = `${method.deadSubject}.${call.suffix}`;
    const letter = await getLast(link, method.service.deadStream, subject);
    if (letter?.headers?.get(Header.objects) !== request.headers?.get(Header.objects)) {
      removeObjects(link, method.service, objects);
    }
  }
}

/** How long the objects of a response are kept, in ms: a day longer than what names them. */
export function responseTtlMs({ resultRetentionMs }: ServiceBinding): number {
  return resultRetentionMs + dayMs;
}

/** Bytes kept free in a message for the headers that servers and jetrpc add. */
const headerReserve = 4096;

/** True when a payload must go through the payload store. */
export function isOversize(payload: Uint8Array, headerBytes: number, maxPayload: number): boolean {
  return payload.length + headerBytes + headerReserve > maxPayload;
}
