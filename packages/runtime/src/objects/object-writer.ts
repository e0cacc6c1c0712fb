import { Code } from "@connectrpc/connect";
import { getLast, publishFenced, publishStored } from "../link/jetstream.js";
import type { Link } from "../link/link.js";
import type { PutOptions } from "../link/payloads.js";
import { provisionBucket } from "../link/provision.js";
import type { StoredMessage } from "../link/stored-message.js";
import { until } from "../link/until.js";
import { causedError } from "../message/caused-error.js";
import { Header, HeaderBlock, wholeNumber } from "../message/header.js";
import type { Sha256 } from "../message/sha256.js";
import type { ServiceBinding } from "../schema/binding.js";
import { bucketStream, chunkSubject, metaSubject, parseObjectName } from "../schema/object-name.js";
import { inChunks } from "./chunks.js";
import { digestText, startHash } from "./hash.js";
import { removeObject } from "./remove-object.js";

/** Largest chunk, in bytes: what other clients of Object Store write. */
const chunkBytes = 128 * 1024;

/** Bytes of a chunk's message that are kept for its headers. */
const headerReserve = 1024;

/** Most chunks that are stored as one atomic batch: 2 MiB, of which an upload holds two. */
const batchChunks = 16;

/**
 * A batch that takes longer to store is followed by a smaller one, in ms, and one that
 * takes less than half of it by a larger one: heartbeats wait behind what is sent before.
 */
const batchMs = 250;

/** How long to try to store the same chunks, in ms. */
const patienceMs = 60_000;

/** Reads bytes anew each time that it is called. */
export type OpenSource = () => AsyncIterable<Uint8Array>;

/** An object that is stored. */
export interface StoredObject {
  readonly name: string;
  /** In bytes. */
  readonly size: number;
  /** As Object Store writes it. */
  readonly digest: string;
}

/** How an object is stored. */
export interface WriteOptions extends PutOptions {
  /** True when the source can be read once only. Default: false. */
  readonly isOneShot?: boolean;
}

/** Less is stored than was acknowledged, or something else: the source has to be read again. */
class Restart extends Error {}

/**
 * Stores what a source yields as an object of the service's bucket: through lost
 * connections, and never a chunk twice.
 *
 * Throws what the source throws, Unavailable when the server does not answer for a
 * minute, ResourceExhausted when its storage is full, Aborted when the server has
 * lost what it had stored of a source that can be read once only.
 */
export async function writeObject(
  link: Link,
  service: ServiceBinding,
  name: string,
  open: OpenSource,
  options: WriteOptions = {},
): Promise<StoredObject> {
  for (let restarts = 0; ; restarts++) {
    try {
      return await new ObjectWriter(link, service, name, options).write(open());
    } catch (error) {
      if (!(error instanceof Restart)) {
        throw error;
      }
      if (options.isOneShot || restarts === 3) {
        throw causedError(error.message, Code.Aborted, error);
      }
    }
  }
}

/** A chunk, and where it ends in the source. */
export interface Chunk {
  readonly data: Uint8Array;
  readonly end: number;
}

/** Stores chunks as an object, in batches, through lost connections. */
export class ObjectWriter {
  protected readonly subject: string;
  private readonly largest: number;
  /** Bytes and chunks that are stored, and the sequence of the last one. */
  protected stored = 0;
  protected chunks = 0;
  protected sequence = 0;
  /** The last chunk of those that were there before. */
  protected tail: Uint8Array | undefined;
  /** Buffers of chunks that are stored: new ones would be garbage soon, and much of it. */
  private readonly spare: Uint8Array[] = [];
  /** Bytes that were read of the source. */
  protected position = 0;
  /** Chunks of the next batch. */
  private most = 1;

  constructor(
    protected readonly link: Link,
    protected readonly service: ServiceBinding,
    protected readonly name: string,
    private readonly options: WriteOptions,
  ) {
    this.subject = chunkSubject(service, name);
    this.largest = Math.max(1, Math.min(chunkBytes, link.maxPayload - headerReserve));
  }

  async write(source: AsyncIterable<Uint8Array>): Promise<StoredObject> {
    if (this.options.resumes) {
      await this.takeOver();
    }
    const hash = await startHash(this.link);
    await this.storeAll(source, hash);
    if (this.stored > this.position) {
      this.startOver("is longer than its source");
    }
    const object = { name: this.name, size: this.position, digest: digestText(hash) };
    await this.describe(object);
    return object;
  }

  /** Stores what a source yields, and hashes it. */
  protected async storeAll(source: AsyncIterable<Uint8Array>, hash?: Sha256): Promise<void> {
    let batch: Chunk[] = [];
    let storing = Promise.resolve();
    for await (const data of inChunks(source, this.largest, this.spare)) {
      this.options.signal?.throwIfAborted();
      hash?.update(data);
      this.position += data.length;
      this.checkTail(data);
      if (this.position > this.stored) {
        batch.push({ data, end: this.position });
      } else {
        this.spare.push(data);
      }
      if (batch.length >= this.most) {
        await storing;
        storing = this.store(batch);
        // Its failure is told where it is awaited.
        storing.catch(() => undefined);
        batch = [];
      }
    }
    await storing;
    await this.store(batch);
  }

  /** Goes on after what another process stored; it cannot write any more. */
  private async takeOver(): Promise<void> {
    await this.persist(async () => {
      await this.look(0);
      if (this.stored > 0) {
        // Says, too, that the object is in use: a sweep removes what is old.
        const headers = this.chunkHeaders(this.chunks, this.stored);
        this.sequence = await publishFenced(this.link, this.subject, this.sequence, [
          { payload: new Uint8Array(0), headers },
        ]);
      }
    });
  }

  /** The bytes that are there must be the ones that the source yields at that place. */
  private checkTail(chunk: Uint8Array): void {
    const { tail, position, stored } = this;
    if (tail && position >= stored) {
      this.tail = undefined;
      const end = chunk.length - (position - stored);
      const length = Math.min(tail.length, end);
      const there = tail.subarray(tail.length - length);
      if (there.some((byte, index) => byte !== chunk[end - length + index])) {
        this.startOver("is not what its source yields");
      }
    }
  }

  /** The object that is there is of no use: it is written anew. */
  protected startOver(why: string): never {
    this.sequence = 0;
    removeObject(this.link, this.service, this.name);
    throw new Restart(`object ${this.name} ${why}`);
  }

  /** Stores chunks, however often it takes. */
  protected async store(chunks: readonly Chunk[]): Promise<void> {
    const [first] = chunks;
    if (!first) {
      return;
    }
    let mustLook = false;
    const beganAt = performance.now();
    await this.persist(async () => {
      if (mustLook) {
        // The acknowledgement was lost, or another process goes on with the object.
        await this.look(first.end - first.data.length);
      }
      mustLook = true;
      const missing = chunks.filter(({ end }) => end > this.stored);
      if (missing.length > 0) {
        const bytes = missing.reduce((sum, { data }) => sum + data.length, 0);
        this.sequence = await this.link.uploads.hold(bytes, () => this.publish(missing));
        this.chunks += missing.length;
        this.stored = missing.at(-1)?.end ?? 0;
      }
    });
    const took = performance.now() - beganAt;
    if (took > batchMs) {
      this.most = Math.max(1, this.most >> 1);
    } else if (took < batchMs / 2) {
      this.most = Math.min(batchChunks, this.most * 2);
    }
    this.spare.push(...chunks.map(({ data }) => data));
  }

  /** Reads how much is there. */
  protected async look(least: number): Promise<StoredMessage | undefined> {
    const last = await getLast(this.link, bucketStream(this.service), this.subject);
    const [, count, length] = /^(\d+) (\d+)$/.exec(last?.headers?.get(Header.chunk) ?? "") ?? [];
    const chunks = wholeNumber(count) ?? 0;
    const bytes = wholeNumber(length) ?? 0;
    if (bytes < least) {
      throw new Restart(`object ${this.name} was removed while it was written`);
    }
    this.sequence = last?.sequence ?? 0;
    if (last && last.data.length > 0 && count === undefined) {
      this.startOver("holds what is no chunk of it");
    }
    this.stored = bytes;
    this.chunks = chunks;
    this.tail = last && last.data.length > 0 ? last.data : undefined;
    return last;
  }

  /** Publishes chunks as one batch, and returns the sequence of the last one. */
  private publish(chunks: readonly Chunk[]): Promise<number> {
    const messages = chunks.map(({ data, end }, index) => ({
      // The first one may be there in part, since the server took larger messages.
      payload: data.subarray(-Math.min(data.length, end - this.stored)),
      headers: this.chunkHeaders(this.chunks + index + 1, end),
    }));
    return publishFenced(this.link, this.subject, this.sequence, messages);
  }

  protected chunkHeaders(chunks: number, bytes: number): HeaderBlock {
    return this.addTtl(new HeaderBlock().add(Header.chunk, `${chunks} ${bytes}`));
  }

  private addTtl(headers: HeaderBlock): HeaderBlock {
    const { ttlMs } = this.options;
    return ttlMs === undefined ? headers : headers.add(Header.ttl, `${Math.ceil(ttlMs / 1000)}s`);
  }

  /** Writes what makes it an object for every client of Object Store (ADR-20). */
  protected async describe({ name, size, digest }: StoredObject): Promise<void> {
    const { link, service, chunks } = this;
    const { kind, method = "", suffix = "" } = parseObjectName(name) ?? {};
    const info = {
      name,
      bucket: service.payloadBucket,
      nuid: name,
      size,
      chunks,
      digest,
      mtime: new Date().toISOString(),
      options: { max_chunk_size: this.largest },
      metadata: {
        "jetrpc-method": `${service.desc.typeName}.${method}`,
        ...(kind !== "rpc" && { "jetrpc-call": suffix }),
      },
    };
    const payload = new TextEncoder().encode(JSON.stringify(info));
    await this.persist(() => {
      const headers = this.addTtl(new HeaderBlock().add(Header.rollup, "sub"));
      return publishStored(link, metaSubject(service, name), payload, headers);
    });
  }

  /** Does something until it succeeds, through lost connections. */
  protected persist(work: () => Promise<unknown>): Promise<unknown> {
    const { link, service, options } = this;
    return until(link, work, {
      timeoutMs: patienceMs,
      check: () => options.signal?.throwIfAborted(),
      makeStream: () => provisionBucket(link, service),
    });
  }
}
