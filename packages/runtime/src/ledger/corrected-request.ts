import { nuid } from "@nats-io/nats-core";
import type { Link } from "../link/link.js";
import { digestOf } from "../message/digest.js";
import { Header, type HeaderBlock, headerSize } from "../message/header.js";
import { isOversize } from "../message/oversize.js";
import { objectsOf } from "../message/request-objects.js";
import { countObjects } from "../objects/payload-store.js";
import type { MethodBinding } from "../schema/binding.js";
import type { CallName } from "../schema/call-id.js";
import { requestSpace } from "../schema/object-name.js";
import { isOfRequest, type StoredRequest } from "./stored-request.js";

/** A request that takes the place of the one of a dead letter. */
export interface Correction {
  /** In binary. */
  readonly bytes: Uint8Array;
  /** The same, the `object` of every Blob being empty. */
  readonly nameless: Uint8Array;
}

/** A request as it is queued. */
export interface Replacement {
  readonly payload: Uint8Array;
  readonly headers: HeaderBlock;
}

const replaced: readonly string[] = [
  Header.digest,
  Header.payload,
  Header.objects,
  Header.contentType,
].map((name) => name.toLowerCase());

/**
 * Makes the message of a corrected request: with metadata and objects of the dead letter, and
 * with a digest of its own where its caller gave the call id. Who submits the call again with the
 * request as it was is told that it exists with another one.
 */
export async function correctRequest(
  link: Link,
  method: MethodBinding,
  call: CallName,
  letter: StoredRequest,
  { bytes, nameless }: Correction,
): Promise<Replacement> {
  const headers = letter.copyHeaders(
    (name) => isOfRequest(name) && !replaced.includes(name.toLowerCase()),
  );
  if (letter.digest) {
    headers.add(Header.digest, await digestOf(nameless));
  }
  const objects = letter.headers?.get(Header.objects);
  if (!isOversize(bytes, headerSize(headers), link.maxPayload)) {
    if (objects) {
      headers.add(Header.objects, objects);
    }
    return { payload: bytes, headers };
  }
  // The names begin with what those of the others do, so that all are removed together.
  const space = requestSpace(method, call);
  const own = objectsOf(letter, space);
  const base = own ? own.prefix.slice(space.length + 1) : nuid.next();
  // A try whose answer was lost may have stored one.
  const index = own ? await countObjects(link, method, own.prefix, own.count) : 0;
  const name = `${space}.${base}.${index}`;
  const reference = await link.payloads.put(method.service, name, bytes, {});
  headers.add(Header.payload, reference).add(Header.objects, `${base} ${index + 1}`);
  return { payload: new Uint8Array(0), headers };
}
