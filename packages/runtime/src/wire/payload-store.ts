import { Code, ConnectError } from "@connectrpc/connect";
import { type Msg, type NatsConnection, nanos, nuid } from "@nats-io/nats-core";
import { type ObjectStore, Objm, StorageType } from "@nats-io/obj";
import type { ServiceBinding } from "./binding.js";
import { Header, type HeaderBlock } from "./header.js";

/**
 * Keeps payloads above the server's max_payload in the Object Store bucket of
 * their service; the message then carries the object's name in their place.
 */
export class PayloadStore {
  private readonly buckets = new Map<string, Promise<ObjectStore>>();

  constructor(private readonly nats: NatsConnection) {}

  /** Stores a payload and returns the name of its object. */
  async put(service: ServiceBinding, payload: Uint8Array): Promise<string> {
    const name = nuid.next();
    await this.use(service, `store ${payload.length} bytes`, (bucket) =>
      bucket.putBlob({ name }, payload),
    );
    return name;
  }

  /** Reads a payload. Throws DataLoss when its object is gone. */
  async get(service: ServiceBinding, name: string): Promise<Uint8Array> {
    const payload = await this.use(service, `read object ${name}`, (bucket) =>
      bucket.getBlob(name),
    );
    if (!payload) {
      throw new ConnectError(
        `object ${name} is gone from bucket ${service.payloadBucket}`,
        Code.DataLoss,
      );
    }
    return payload;
  }

  /** Removes a payload that nobody needs any more. One that is gone already is fine. */
  async delete(service: ServiceBinding, name: string): Promise<void> {
    await this.use(service, `delete object ${name}`, (bucket) => bucket.delete(name)).catch(
      // The bucket's own age limit removes it later.
      () => undefined,
    );
  }

  /** The payload of a message, wherever it is kept. */
  async load(service: ServiceBinding, message: Msg): Promise<Uint8Array> {
    const name = message.headers?.get(Header.payload);
    return name ? await this.get(service, name) : message.data;
  }

  /**
   * Stores a payload that is too large for one message and notes it in the
   * headers; returns what goes into the message.
   */
  async offload(
    service: ServiceBinding,
    payload: Uint8Array,
    headers: HeaderBlock,
  ): Promise<Uint8Array> {
    headers.add(Header.payload, await this.put(service, payload));
    return new Uint8Array(0);
  }

  private async use<T>(
    service: ServiceBinding,
    what: string,
    work: (bucket: ObjectStore) => Promise<T>,
  ): Promise<T> {
    try {
      return await work(await this.bucket(service));
    } catch (cause) {
      this.buckets.delete(service.payloadBucket);
      throw new ConnectError(
        `cannot ${what} in bucket ${service.payloadBucket}: ${String(cause)}`,
        Code.Unavailable,
        undefined,
        undefined,
        cause,
      );
    }
  }

  private bucket(service: ServiceBinding): Promise<ObjectStore> {
    let bucket = this.buckets.get(service.payloadBucket);
    if (!bucket) {
      bucket = new Objm(this.nats).create(service.payloadBucket, {
        description: `Large payloads of ${service.desc.typeName}`,
        ttl: nanos(service.resultRetentionMs),
        storage: service.storage === "file" ? StorageType.File : StorageType.Memory,
        replicas: service.replicas,
      });
      this.buckets.set(service.payloadBucket, bucket);
    }
    return bucket;
  }
}

/** Bytes kept free in a message for the headers that servers and jetrpc add. */
const headerReserve = 4096;

/** True when a payload must go through the payload store. */
export function isOversize(payload: Uint8Array, headerBytes: number, maxPayload: number): boolean {
  return payload.length + headerBytes + headerReserve > maxPayload;
}
