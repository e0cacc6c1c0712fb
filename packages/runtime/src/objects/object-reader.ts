import { Code, ConnectError } from "@connectrpc/connect";
import type { Link } from "../link/link.js";
import { readStream } from "../link/stream-reader.js";
import { isTransient, pause } from "../link/until.js";
import { digestText } from "../message/sha256.js";
import type { ServiceBinding } from "../schema/binding.js";
import { bucketStream, chunkSubject } from "../schema/object-name.js";
import type { StoredObject } from "./object-writer.js";

/** Chunks asked for at once; twice as many are held. */
const batch = 8;

/** How long to try to get the same chunk, in ms. */
const patienceMs = 60_000;

/**
 * For how long one server of a cluster may lack what the others have of an object that is
 * known to be stored, in ms: one that was killed takes it from them when it is back.
 */
const lagMs = 10_000;

/**
 * Yields what an object holds, through lost connections, and no faster than it is
 * taken. Only when it ends has it been checked.
 *
 * Throws DataLoss when the object is gone, incomplete or changed (in a cluster, when it
 * is so for 10 s), and Unavailable when the server does not answer for a minute.
 */
export async function* readObject(
  link: Link,
  service: ServiceBinding,
  { name, size, digest }: StoredObject,
): AsyncGenerator<Uint8Array, void, undefined> {
  const hash = link.createSha256();
  const subject = chunkSubject(service, name);
  let from = 0;
  let read = 0;
  let giveUpAt = Date.now() + patienceMs;
  const lag = service.replicas > 1 ? lagMs : 0;
  /** When who was asked had no more. */
  let shortSince: number | undefined;
  for (let retry = 0, isDone = size === 0; !isDone; retry++) {
    try {
      await link.whenConnected(giveUpAt - Date.now());
      const range = { subject, from, batch, readAhead: true };
      for await (const { sequence, data } of readStream(link, bucketStream(service), range)) {
        from = sequence + 1;
        // A copy: the reader of a Blob may transfer it.
        const chunk = new Uint8Array(data);
        read += chunk.length;
        hash.update(chunk);
        if (chunk.length > 0 && read <= size) {
          yield chunk;
        }
        if (read > size) {
          break;
        }
        retry = 0;
        giveUpAt = Date.now() + patienceMs;
        shortSince = undefined;
      }
      shortSince ??= Date.now();
      isDone = read >= size || Date.now() >= shortSince + lag;
      if (!isDone) {
        await pause(retry);
      }
    } catch (error) {
      if (!isTransient(error) || link.nats.isClosed() || Date.now() >= giveUpAt) {
        throw error;
      }
      await pause(retry);
    }
  }
  const what = `object ${name} of bucket ${service.payloadBucket}`;
  if (read === 0 && size > 0) {
    throw new ConnectError(
      `${what} is gone: its call has ended, or its result is older than its retention`,
      Code.DataLoss,
    );
  }
  if (read !== size || digestText(hash) !== digest) {
    throw new ConnectError(
      `${what} is damaged: ${read} bytes with another digest than the ${size} that were written`,
      Code.DataLoss,
    );
  }
}
