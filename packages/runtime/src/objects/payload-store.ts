import { Code, ConnectError } from "@connectrpc/connect";
import { getLast } from "../link/jetstream.js";
import type { Link } from "../link/link.js";
import type { Carrier, Payloads, PutOptions } from "../link/payloads.js";
import { createSecret } from "../link/secret.js";
import { permanent } from "../message/error-marks.js";
import { Header, quote, wholeNumber } from "../message/header.js";
import { objectsOf, type RequestObjects } from "../message/request-objects.js";
import type { MethodBinding, ServiceBinding } from "../schema/binding.js";
import type { CallName } from "../schema/call-id.js";
import { directSpace } from "../schema/direct-space.js";
import { bucketStream, checkSpace, chunkSubject, requestSpace } from "../schema/object-name.js";
import { readObject } from "./object-reader.js";
import { type StoredObject, writeObject } from "./object-writer.js";
import { removeObject } from "./remove-object.js";

const dayMs = 24 * 3_600_000;

/** Most bytes of a payload: 4 GiB, as in Connect. */
const largestPayload = 0xffffffff;

/**
 * Keeps payloads in the Object Store bucket of their service; a reference is the name of
 * the object, its size and its digest.
 */
export class PayloadStore implements Omit<Payloads, "load"> {
  constructor(private readonly link: Link) {}

  putDirect(method: MethodBinding, payload: Uint8Array): Promise<string> {
    // The caller removes it after the call; the server does where both have crashed.
    const ttlMs = method.timeoutMs + dayMs;
    return this.put(method.service, `${directSpace(method)}.${createSecret()}`, payload, { ttlMs });
  }

  async put(
    service: ServiceBinding,
    name: string,
    payload: Uint8Array,
    options: PutOptions,
  ): Promise<string> {
    const open = async function* () {
      yield payload;
    };
    const { size, digest } = await writeObject(this.link, service, name, open, options);
    return `${name} ${size} ${digest}`;
  }

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
  request: Carrier,
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
