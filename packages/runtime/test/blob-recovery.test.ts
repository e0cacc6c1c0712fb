import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { type Blob, blobOf, Code, type Connection, openBlob } from "@jetrpc/runtime";
import { fileBlob } from "@jetrpc/runtime/node";
import { startNats } from "@jetrpc/testing";
import { headers } from "@nats-io/transport-node";
import { describe, expect, test } from "vitest";
import {
  bytes,
  chunk,
  copier,
  objects,
  pieces,
  read,
  requestChunks,
  sha256,
  useBlobs,
} from "./blob-support.js";
import { BlobService } from "./gen/test/v1/blob_pb.js";
import { useProcesses } from "./process.js";
import { until, useNats } from "./support.js";

const nats = useNats([BlobService]);
const blobs = useBlobs(nats);
const start = useProcesses();

const chunks = 50;
const content = bytes(chunks * chunk);

/** The bytes in pieces of chunks; `onPiece` is called before each. */
async function* slowly(onPiece: (index: number) => Promise<void> | void) {
  let index = 0;
  for await (const piece of pieces(content, chunk)) {
    await onPiece(index++);
    yield piece;
  }
}

/** Ways of losing the connection. */
const cuts = {
  "the connection is cut": async (connection: Connection) => connection.nats.reconnect(),
  "the server is killed": async (
    _: Connection,
    server: { kill(): Promise<void>; restart(): Promise<void> },
  ) => {
    await server.kill();
    await server.restart();
  },
};

describe.each(Object.entries(cuts))("when %s in the middle", (_name, cut) => {
  test.each(["a stream", "a function"])("an upload of %s goes on", async (kind) => {
    await using server = await startNats();
    const { url } = server;
    const connection = await nats.connect({ url });
    const copy = (await blobs.client(connection)).copy;
    const cutAt = new Set([10, 20, 21, 40]);
    const make = () =>
      slowly(async (index) => {
        if (cutAt.delete(index)) {
          await cut(connection, server);
        }
      });
    const call = await copy.submit({ file: blobOf(kind === "a stream" ? make() : make) });
    expect(cutAt.size).toBe(0);
    // Every chunk is there once.
    expect(await requestChunks(connection)).toBe(chunks);
    await blobs.worker(copier, { connection: await nats.connect({ url }) });
    const { file } = await call.result();
    expect(file?.digest).toBe(sha256(content));
  });

  test("a download goes on, and yields nothing twice", async () => {
    await using server = await startNats();
    const { url } = server;
    const connection = await nats.connect({ url });
    await blobs.worker(copier, { connection: await nats.connect({ url }) });
    const { file } = await (await blobs.client(connection)).copy({ file: blobOf(content) });
    const parts: Uint8Array[] = [];
    for await (const part of openBlob(file as Blob)) {
      parts.push(part);
      if ([1, 17, 33, 45].includes(parts.length)) {
        await cut(connection, server);
      }
    }
    expect(parts).toHaveLength(chunks);
    expect(Buffer.compare(Buffer.concat(parts), content)).toBe(0);
  });
});

test("a server that is silent for a while makes both wait", async () => {
  await using server = await startNats();
  const { url } = server;
  const connection = await nats.connect({ url });
  await blobs.worker(copier, { connection: await nats.connect({ url }) });
  const silence = () => {
    server.suspend();
    setTimeout(() => server.resume(), 500);
  };
  const source = slowly((index) => (index === 25 ? silence() : undefined));
  const { file } = await (await blobs.client(connection)).copy({ file: blobOf(source) });
  let count = 0;
  for await (const part of openBlob(file as Blob)) {
    expect(part).toHaveLength(chunk);
    if (++count === 20) {
      silence();
    }
  }
  expect(count).toBe(chunks);
});

describe("a call id that is given", () => {
  async function film(name: string, of = content): Promise<string> {
    const path = join(blobs.folder, name);
    await writeFile(path, of);
    return path;
  }

  test("lets a process go on with the upload of one that was killed", async () => {
    const connection = await nats.connect();
    const path = await film("film");
    const stopAfter = 40 * chunk;
    const first = start("blob-client.mjs", nats.environment("client"), path, `${stopAfter}`);
    await first.says("stopped");
    // How many batches that are depends on the machine; what is read of the next one is
    // lost with the process.
    await until(async () => (await requestChunks(connection)) > 16);
    await first.end("SIGKILL");
    const second = start("blob-client.mjs", nats.environment("client"), path);
    await second.says("submitted");
    expect(await requestChunks(connection)).toBe(chunks + 1);
    // The first upload made the bucket: each chunk was stored once, with a mark that the
    // upload goes on, and the description.
    expect((await state(connection)).last_seq).toBe(chunks + 2);
    await blobs.worker(copier);
    const { file } = await (await blobs.client()).copy.attach("film").result();
    expect(sha256(await read(file))).toBe(sha256(content));
  });

  test("is the same call for the same file, whatever it is read from", async () => {
    const connection = await nats.connect();
    const copy = (await blobs.client()).copy;
    const path = await film("same");
    const info = { fileName: "same" };
    const callId = "same";
    await copy.submit({ file: fileBlob(path) }, { callId });
    const { last_seq } = await state(connection);
    await copy.submit({ file: fileBlob(path) }, { callId });
    await copy.submit({ file: blobOf(content, info) }, { callId });
    // Nothing of it was sent again.
    expect((await state(connection)).last_seq).toBe(last_seq);
    await copy.submit({ file: blobOf(pieces(content, 1000), info) }, { callId });
    await until(async () => (await requestChunks(connection)) === chunks);
    const other = content.slice();
    other[1_000_000] = 1;
    for (const source of [other, pieces(other, 1000)]) {
      await expect(copy.submit({ file: blobOf(source, info) }, { callId })).rejects.toMatchObject({
        code: Code.AlreadyExists,
      });
    }
    await until(async () => (await requestChunks(connection)) === chunks);
    await blobs.worker(copier);
    expect((await copy.attach(callId).result()).file?.digest).toBe(sha256(content));
    await copy.submit({ file: fileBlob(path) }, { callId });
  });

  test("and two processes that upload at once: one object, one call", async () => {
    const path = await film("twice");
    const clients = await Promise.all([1, 2, 3].map(() => blobs.client()));
    await Promise.all(
      clients.map((each) => each.copy.submit({ file: fileBlob(path) }, { callId: "twice" })),
    );
    await blobs.worker(copier);
    const { file } = await (await blobs.client()).copy.attach("twice").result();
    expect(file?.digest).toBe(sha256(content));
  });

  test("and a file that changes while it is read are FailedPrecondition", async () => {
    const connection = await nats.connect();
    const copy = (await blobs.client()).copy;
    let version = 0;
    const file = blobOf(() => pieces(bytes(2 * chunk, version++), chunk));
    await expect(copy.submit({ file }, { callId: "changing" })).rejects.toMatchObject({
      code: Code.FailedPrecondition,
      rawMessage: expect.stringContaining("changed while it was read"),
    });
    await until(async () => Object.keys(await objects(connection)).length === 0);
  });

  test("and a part that is damaged: the upload begins anew", async () => {
    const connection = await nats.connect();
    const copy = (await blobs.client()).copy;
    const callId = "damaged";
    let reading = 0;
    const failing = blobOf(() =>
      slowly((index) => {
        // It is read for its digest first.
        if (index === 30 && ++reading === 2) {
          throw new Error("no more");
        }
      }),
    );
    await expect(copy.submit({ file: failing }, { callId })).rejects.toThrow("no more");
    // Whoever submits the same again can go on with it.
    let stored = 0;
    await until(async () => {
      // How many are stored together depends on how fast the server is.
      const before = stored;
      await new Promise((resolve) => setTimeout(resolve, 500));
      stored = await requestChunks(connection);
      return stored > 0 && stored === before;
    });
    const [subject = ""] = Object.keys(await objects(connection));
    const header = headers();
    header.set("Jetrpc-Chunk", `${stored + 1} ${(stored + 1) * chunk}`);
    await connection.nats.request(subject, bytes(chunk, 2), { headers: header, timeout: 60_000 });
    await copy.submit({ file: blobOf(content) }, { callId });
    await until(async () => (await requestChunks(connection)) === chunks);
    await blobs.worker(copier);
    expect((await copy.attach(callId).result()).file?.digest).toBe(sha256(content));
  });
});

async function state(connection: Connection): Promise<{ last_seq: number }> {
  const reply = await connection.nats.request("$JS.API.STREAM.INFO.OBJ_BLOB_PAYLOAD");
  return (reply.json() as { state: { last_seq: number } }).state;
}
