import { Code, ConnectError } from "@connectrpc/connect";
import type { Link } from "../link/link.js";
import { readStream } from "../link/stream-reader.js";
import { isTransient, pause } from "../link/until.js";
import { Header } from "../message/header.js";
import type { ServiceBinding } from "../schema/binding.js";
import { bucketStream, chunkSubject } from "../schema/object-name.js";
import { digestText, startHash } from "./hash.js";
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
 * Yields what an object holds from byte `start` on, through lost connections, and no faster than
 * it is taken. Only when it ends has it been checked; without a digest, and from another byte
 * than the first one, only its size is.
 *
 * Throws DataLoss when the object is gone, incomplete or changed (in a cluster, when it
 * is so for 10 s), and Unavailable when the server does not answer for a minute.
 */
export async function* readObject(
  link: Link,
  service: ServiceBinding,
  { name, size, digest }: Omit<StoredObject, "digest"> & { readonly digest?: string },
  start = 0,
): AsyncGenerator<Uint8Array, void, undefined> {
  const hash = digest !== undefined && start === 0 ? await startHash(link) : undefined;
  const subject = chunkSubject(service, name);
  /** Sequence of the next chunk, and the bytes before it; not known yet. */
  let from: number | undefined;
  let read = 0;
  let giveUpAt = Date.now() + patienceMs;
  const lag = service.replicas > 1 ? lagMs : 0;
  /** When who was asked had no more. */
  let shortSince: number | undefined;
  for (let retry = 0, isDone = size === 0; !isDone; retry++) {
    try {
      await link.whenConnected(giveUpAt - Date.now());
      if (from === undefined) {
        ({ from, read } = await seek(link, bucketStream(service), subject, start));
      }
      const range = { subject, from, batch, readAhead: true };
      for await (const { sequence, data } of readStream(link, bucketStream(service), range)) {
        from = sequence + 1;
        // A copy: the reader of a Blob may transfer it.
        const chunk = new Uint8Array(data.subarray(Math.max(0, start - read)));
        read += data.length;
        hash?.update(chunk);
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
  if (read !== size || (hash && digestText(hash) !== digest)) {
    throw new ConnectError(
      `${what} is damaged: ${read} bytes with another digest than the ${size} that were written`,
      Code.DataLoss,
    );
  }
}

/** How far before a byte reading may begin: as much as comes at once. */
const nearBytes = batch * 128 * 1024;

/** Finds a chunk shortly before a byte: its sequence, and how many bytes are before it. */
async function seek(
  link: Link,
  stream: string,
  subject: string,
  byte: number,
): Promise<{ from: number; read: number }> {
  const first = async (from: number, lastPerSubject = false) => {
    const range = { subject, from, lastPerSubject, headersOnly: true, batch: 1 };
    for await (const { sequence, headers } of readStream(link, stream, range)) {
      return { sequence, end: Number(headers?.get(Header.chunk).split(" ")[1]) };
    }
    return undefined;
  };
  const nothing = { from: 0, read: 0 };
  if (byte < nearBytes) {
    return nothing;
  }
  let low = await first(0);
  let high = await first(0, true);
  if (!low || !high || !(low.end <= byte && byte < high.end)) {
    return nothing;
  }
  // Chunks of one object lie close together, and those of others between them: the place is
  // guessed, and every other time it is the middle.
  for (let tries = 0; byte - low.end > nearBytes && high.sequence - low.sequence > 1; tries++) {
    const share = tries % 2 === 0 ? (byte - nearBytes / 2 - low.end) / (high.end - low.end) : 0.5;
    const steps = Math.max(1, Math.floor((high.sequence - low.sequence) * share));
    const guess: number = low.sequence + Math.min(steps, high.sequence - low.sequence - 1);
    const found: Awaited<ReturnType<typeof first>> = await first(guess);
    if (!found || !(found.end >= low.end)) {
      return nothing;
    }
    if (found.end <= byte) {
      low = found;
    } else {
      high = { sequence: guess, end: found.end };
    }
  }
  return { from: low.sequence + 1, read: low.end };
}
