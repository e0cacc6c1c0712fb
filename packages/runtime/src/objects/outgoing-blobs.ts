import {
  clone,
  type DescMessage,
  type MessageInitShape,
  type MessageShape,
} from "@bufbuild/protobuf";
import { type Code, ConnectError } from "@connectrpc/connect";
import type { Blob } from "../gen/jetrpc/v1/blob_pb.js";
import type { Link } from "../link/link.js";
import { encode, normalize } from "../message/codec.js";
import { digestOf } from "../message/digest.js";
import { maxObjects } from "../message/request-objects.js";
import type { ServiceBinding } from "../schema/binding.js";
import { blobsIn } from "../schema/blob-fields.js";
import { sourceOf } from "./blob.js";
import { digestText, startHash } from "./hash.js";
import { type StoredObject, type WriteOptions, writeObject } from "./object-writer.js";
import { removeObject } from "./remove-object.js";
import { checkUploaded } from "./uploaded-blobs.js";

/** A message that goes out, and the Blobs in it. */
export class OutgoingBlobs<D extends DescMessage> {
  private readonly message: MessageShape<D>;
  private readonly blobs: readonly Blob[];

  constructor(
    private readonly schema: D,
    init: MessageInitShape<D>,
    private readonly code: Code,
  ) {
    this.message = normalize(schema, init);
    this.blobs = blobsIn(schema, this.message);
    if (this.blobs.length >= maxObjects) {
      throw new ConnectError(
        `${schema.typeName} holds ${this.blobs.length} Blobs: send less than ${maxObjects}`,
        code,
      );
    }
    // A Blob without a source is refused before anything is stored.
    this.blobs.forEach(sourceOf);
  }

  get count(): number {
    return this.blobs.length;
  }

  /** True when what the Blobs hold can be known before it is sent. */
  get isRereadable(): boolean {
    return this.blobs.every((blob) => sourceOf(blob).isRereadable);
  }

  /** True when the Blobs are uploads of the call: all of them, or none. */
  get areUploaded(): boolean {
    return this.blobs.some((blob) => sourceOf(blob).uploaded);
  }

  /** Reads all sources for what tells two messages apart: see {@link digestOfMessage}. */
  async digest(link: Link): Promise<string> {
    const objects: StoredObject[] = [];
    for (const blob of this.blobs) {
      const { open, uploaded } = sourceOf(blob);
      if (uploaded) {
        objects.push(uploaded);
        continue;
      }
      const hash = await startHash(link);
      let size = 0;
      for await (const chunk of open()) {
        hash.update(chunk);
        size += chunk.length;
      }
      objects.push({ name: "", size, digest: digestText(hash) });
    }
    return this.digestOfMessage(objects);
  }

  /**
   * Stores each Blob as the object that is named for its number. When an upload fails, its
   * objects are removed, unless a later upload goes on with them.
   */
  async store(
    link: Link,
    service: ServiceBinding,
    name: (index: number) => string,
    options: WriteOptions,
  ): Promise<StoredObject[]> {
    const objects: StoredObject[] = [];
    try {
      for (const [index, blob] of this.blobs.entries()) {
        const { open, isRereadable, uploaded } = sourceOf(blob);
        const how = { ...options, isOneShot: !isRereadable };
        objects.push(
          uploaded
            ? await checkUploaded(link, service, uploaded)
            : await writeObject(link, service, name(index), open, how),
        );
      }
    } catch (error) {
      if (!options.resumes) {
        for (let index = 0; index <= objects.length; index++) {
          removeObject(link, service, name(index));
        }
      }
      throw error;
    }
    return objects;
  }

  /** The message with its Blobs where they are stored, serialized. */
  encode(objects: readonly StoredObject[]): Uint8Array {
    const sent = clone(this.schema, this.message);
    for (const [index, blob] of blobsIn(this.schema, sent).entries()) {
      const { name, size, digest } = objects[index] as StoredObject;
      Object.assign(blob, { object: name, size: BigInt(size), digest });
    }
    return encode(this.schema, sent as MessageInitShape<D>, this.code);
  }

  /** The digest of the message without the names of its objects: the same for the same bytes. */
  digestOfMessage(objects: readonly StoredObject[]): Promise<string> {
    return digestOf(this.encode(objects.map((object) => ({ ...object, name: "" }))));
  }
}
