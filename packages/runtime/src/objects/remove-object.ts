import { publishFenced } from "../link/jetstream.js";
import type { Link } from "../link/link.js";
import { Header, HeaderBlock } from "../message/header.js";
import type { ServiceBinding } from "../schema/binding.js";
import { chunkSubject, metaSubject } from "../schema/object-name.js";

/** How long a message stays that takes the place of a removed object, in s. */
const removedSeconds = 1;

/**
 * Removes an object: an empty message takes the place of its chunks, and goes by
 * itself. The permission to publish is enough for that. Not waited for: one that is
 * lost on the way is for `sweepPayloads()`.
 */
export function removeObject(link: Link, service: ServiceBinding, name: string): void {
  if (link.connected) {
    for (const subject of [chunkSubject(service, name), metaSubject(service, name)]) {
      link.publish(subject, removedPayload(service, subject, name), {
        headers: removal().asHeaders(),
      });
    }
  }
}

/**
 * Removes an object unless its chunks changed since a sequence. Errors: those of
 * {@link publishFenced}.
 */
export async function removeUnchanged(
  link: Link,
  service: ServiceBinding,
  name: string,
  subject: string,
  sequence: number,
): Promise<void> {
  await publishFenced(link, subject, sequence, [
    { payload: removedPayload(service, subject, name), headers: removal() },
  ]);
}

function removal(): HeaderBlock {
  return new HeaderBlock().add(Header.rollup, "sub").add(Header.ttl, `${removedSeconds}s`);
}

/** Other clients of Object Store see that it is gone. */
function removedPayload(service: ServiceBinding, subject: string, name: string): Uint8Array {
  if (subject === chunkSubject(service, name)) {
    return new Uint8Array(0);
  }
  const { payloadBucket: bucket } = service;
  const info = { name, bucket, nuid: name, size: 0, chunks: 0, digest: "", deleted: true };
  return new TextEncoder().encode(JSON.stringify(info));
}
