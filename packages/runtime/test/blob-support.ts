import { createHash } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  type Blob,
  type Connection,
  createClient,
  type DurableServerStreamingMethod,
  type DurableUnaryMethod,
  openBlob,
  startWorker,
  type Worker,
  type WorkerImpl,
  type WorkerOptions,
} from "@jetrpc/runtime";
import { afterAll, beforeAll } from "vitest";
import { BlobService, type FilesSchema } from "./gen/test/v1/blob_pb.js";
import { collect, until, type useNats } from "./support.js";

type F = typeof FilesSchema;

export interface BlobClient {
  copy: DurableUnaryMethod<F, F>;
  split: DurableServerStreamingMethod<F, F>;
}

export type BlobImpl = Partial<WorkerImpl<typeof BlobService>>;

/** Bytes that the runtime stores as one message. */
export const chunk = 128 * 1024;

/** Answers with the Blobs of the request. */
export const copier: BlobImpl = { copy: (request) => request };

/** Clients and workers of the service with Blobs, and a folder for files. */
export function useBlobs(nats: ReturnType<typeof useNats>) {
  let folder: string;
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "jetrpc-blob-"));
  });
  afterAll(() => rm(folder, { recursive: true }));
  return {
    get folder(): string {
      return folder;
    },
    async client(connection?: Connection): Promise<BlobClient> {
      return createClient<BlobClient>(
        BlobService,
        connection ?? (await nats.connect({ as: "client" })),
      );
    },
    async worker(
      impl: BlobImpl,
      options: WorkerOptions & { connection?: Connection } = {},
    ): Promise<Worker> {
      const { connection = await nats.connect({ as: "worker" }), ...rest } = options;
      return startWorker(BlobService, impl, connection, rest);
    },
  };
}

/** All that a Blob holds. */
export async function read(blob: Blob | undefined): Promise<Buffer> {
  return Buffer.concat(await collect(openBlob(blob as Blob)));
}

/** Bytes that differ from place to place, and from seed to seed. */
export function bytes(length: number, seed = 1): Uint8Array<ArrayBuffer> {
  const pattern = createHash("sha256").update(`${seed}`).digest();
  return new Uint8Array(length).map((_, i) => (pattern[i % 32] as number) ^ (i >> 8) ^ (i >> 16));
}

/** Bytes as a stream of pieces. */
export async function* pieces(all: Uint8Array, size: number): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < all.length; at += size) {
    yield all.subarray(at, at + size);
  }
}

/** A digest as Object Store writes it. */
export function sha256(all: Uint8Array): string {
  const digest = createHash("sha256").update(all).digest("base64");
  return `SHA-256=${digest.replaceAll("+", "-").replaceAll("/", "_")}`;
}

/** The subjects of the bucket, with how many messages each has. */
export async function objects(connection: Connection): Promise<Record<string, number>> {
  const reply = await connection.nats.request(
    "$JS.API.STREAM.INFO.OBJ_BLOB_PAYLOAD",
    JSON.stringify({ subjects_filter: "$O.>" }),
  );
  const { state } = reply.json() as { state?: { subjects?: Record<string, number> } };
  return state?.subjects ?? {};
}

/** How many chunks of requests the bucket holds. */
export async function requestChunks(connection: Connection): Promise<number> {
  const all = Object.entries(await objects(connection));
  const own = all.filter(([subject]) => subject.startsWith("$O.BLOB_PAYLOAD.C.queue."));
  return own.reduce((sum, [, count]) => sum + count, 0);
}

/** Waits until nothing of requests is left in the bucket. */
export async function untilReleased(connection: Connection): Promise<void> {
  await until(async () => (await requestChunks(connection)) === 0);
}
