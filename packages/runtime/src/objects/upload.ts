import { Code, ConnectError } from "@connectrpc/connect";
import { publishFenced } from "../link/jetstream.js";
import type { Link } from "../link/link.js";
import type { StoredMessage } from "../link/stored-message.js";
import { Header } from "../message/header.js";
import type { Sha256 } from "../message/sha256.js";
import type { ServiceBinding } from "../schema/binding.js";
import { digestText, startHash } from "./hash.js";
import { readObject } from "./object-reader.js";
import { type Chunk, ObjectWriter, type StoredObject } from "./object-writer.js";
import { removeUnchanged } from "./remove-object.js";

/**
 * An object that is stored part by part: `BlobUpload` describes it. It is complete when its last
 * chunk is an empty one with the digest of all bytes.
 */
export class Upload extends ObjectWriter {
  private hash: Sha256 | undefined;
  private digest: string | undefined;
  /** The chunks that are being stored. */
  private sent: readonly Chunk[] | undefined;

  constructor(link: Link, service: ServiceBinding, name: string) {
    super(link, service, name, {});
  }

  get bytes(): number {
    return this.stored;
  }

  get object(): StoredObject | undefined {
    const { name, stored: size, digest } = this;
    return digest === undefined ? undefined : { name, size, digest };
  }

  async refresh(): Promise<void> {
    await this.persist(() => this.look());
  }

  async append(offset: number, source: AsyncIterable<Uint8Array>): Promise<void> {
    this.sent = undefined;
    this.hash = offset === 0 ? await startHash(this.link) : undefined;
    await this.persist(async () => {
      await this.look();
      if (this.digest !== undefined) {
        throw aborted(`${this.name} is complete: another file needs another call id`);
      }
      if (offset > this.stored) {
        throw aborted(`${this.name} has ${this.stored} bytes, not ${offset}: go on from there`);
      }
      // Who wrote it before can write no more, and a sweep sees that it is in use.
      if (offset === 0) {
        this.chunks = 0;
        this.stored = 0;
        this.tail = undefined;
      }
      const headers = this.chunkHeaders(this.chunks, this.stored);
      const fence = offset === 0 ? headers.add(Header.rollup, "sub") : headers;
      this.sequence = await this.publishEmpty(fence);
    });
    this.position = offset;
    await this.storeAll(source, this.hash);
  }

  async complete(expected?: string): Promise<StoredObject> {
    const { link, service, name, subject, stored: size } = this;
    const digest = digestText(this.hash ?? (await this.read()));
    if (expected !== undefined && expected !== digest) {
      // One that another process goes on with stays.
      await removeUnchanged(link, service, name, subject, this.sequence).catch(() => undefined);
      this.stored = 0;
      const text = `the ${size} bytes of ${name} have the digest ${digest}, not ${expected}: upload it again`;
      throw new ConnectError(text, Code.InvalidArgument);
    }
    const object = { name, size, digest };
    await this.describe(object);
    this.sent = [];
    let mustLook = false;
    await this.persist(async () => {
      if (mustLook) {
        await this.look(digest);
      }
      mustLook = true;
      if (this.digest !== digest) {
        const headers = this.chunkHeaders(this.chunks, size).add(Header.uploaded, digest);
        this.sequence = await this.publishEmpty(headers);
      }
    });
    this.digest = digest;
    return object;
  }

  /** Others may have stored the beginning: it stays. */
  protected override startOver(why: string): never {
    throw aborted(`${this.name} ${why}: upload the whole file anew`);
  }

  protected override store(chunks: readonly Chunk[]): Promise<void> {
    this.sent = chunks;
    return super.store(chunks);
  }

  /** Throws Aborted when another process wrote meanwhile: its source may have other bytes. */
  protected override async look(own?: number | string): Promise<StoredMessage | undefined> {
    const { sequence, sent } = this;
    const last = await super.look(0);
    this.digest = last?.headers?.get(Header.uploaded) || undefined;
    const chunk = sent?.find(({ end }) => end === this.stored)?.data;
    const isOwn = this.digest === undefined ? isSame(chunk, last?.data) : this.digest === own;
    if (sent && this.sequence !== sequence && !isOwn) {
      throw aborted(`another request goes on with ${this.name}`);
    }
    return last;
  }

  private publishEmpty(headers: ReturnType<Upload["chunkHeaders"]>): Promise<number> {
    const payload = new Uint8Array(0);
    return publishFenced(this.link, this.subject, this.sequence, [{ payload, headers }]);
  }

  /** Hashes what is stored: who stored the beginning is gone. */
  private async read(): Promise<Sha256> {
    const { link, service, name, stored: size } = this;
    const hash = await startHash(link);
    for await (const chunk of readObject(link, service, { name, size })) {
      hash.update(chunk);
    }
    return hash;
  }
}

function isSame(a: Uint8Array | undefined, b: Uint8Array | undefined): boolean {
  return a?.length === b?.length && a?.every((byte, index) => byte === b?.[index]) === true;
}

function aborted(text: string): ConnectError {
  return new ConnectError(text, Code.Aborted);
}
