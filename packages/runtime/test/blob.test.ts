import { readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { create } from "@bufbuild/protobuf";
import { type Blob, blobOf, Code, openBlob, startWorker } from "@jetrpc/runtime";
import { BlobSchema } from "@jetrpc/runtime/jetrpc/v1/blob_pb.js";
import { fileBlob, saveBlob } from "@jetrpc/runtime/node";
import { Objm } from "@nats-io/obj";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { runs } from "../../../test/property-runs.js";
import {
  bytes,
  chunk,
  copier,
  objects,
  pieces,
  read,
  sha256,
  untilReleased,
  useBlobs,
} from "./blob-support.js";
import { BlobService, DirectBlobService } from "./gen/test/v1/blob_pb.js";
import { collect, gate, until, useNats } from "./support.js";

const nats = useNats([BlobService]);
const blobs = useBlobs(nats);

describe("a Blob", () => {
  const content = bytes(3 * chunk + 17);

  const sources = {
    bytes: () => blobOf(content),
    "an async iterable": () => blobOf(pieces(content, 10_000)),
    "a function": () => blobOf(() => pieces(content, 400_000)),
    "a ReadableStream": () => blobOf(new Response(content).body as ReadableStream<Uint8Array>),
    "no bytes": () => blobOf(new Uint8Array(0)),
  };
  for (const [name, make] of Object.entries(sources)) {
    test(`of ${name} goes to the worker and back`, async () => {
      const seen: string[] = [];
      await blobs.worker({
        copy: async ({ file }) => {
          seen.push(sha256(await read(file)));
          return { file: blobOf(() => openBlob(file as Blob), { fileName: "copy" }) };
        },
      });
      const { file } = await (await blobs.client()).copy({ file: make() });
      const expected = name === "no bytes" ? new Uint8Array(0) : content;
      expect(seen).toEqual([sha256(expected)]);
      expect(file).toMatchObject({
        size: BigInt(expected.length),
        digest: sha256(expected),
        fileName: "copy",
      });
      expect(Buffer.compare(await read(file), expected)).toBe(0);
    });
  }

  test("of a file is saved as a file", async () => {
    await blobs.worker(copier);
    const path = join(blobs.folder, "film.mp4");
    await writeFile(path, content);
    const film = fileBlob(path, { contentType: "video/mp4" });
    const { file } = await (await blobs.client()).copy({ file: film });
    expect(file).toMatchObject({ contentType: "video/mp4", fileName: "film.mp4" });
    // What was sent is as it was: it may be sent again.
    expect(film.object).toBe("");
    await saveBlob(file, join(blobs.folder, "copy.mp4"));
    expect(Buffer.compare(await readFile(join(blobs.folder, "copy.mp4")), content)).toBe(0);
  });
});

describe("Blobs in every place", () => {
  test("of a message arrive, and come back", async () => {
    const made = (seed: number) => blobOf(bytes(seed * 1000, seed), { fileName: `${seed}` });
    await blobs.worker(copier);
    const result = await (await blobs.client()).copy({
      file: made(1),
      more: [made(2), made(3)],
      named: { four: made(4), five: made(5) },
      choice: { case: "chosen", value: made(6) },
      inner: { inner: { more: [made(7)] } },
    });
    const found = [
      result.file,
      ...result.more,
      result.named["four"],
      result.named["five"],
      result.choice.value as Blob,
      result.inner?.inner?.more[0],
    ];
    for (const [index, blob] of found.entries()) {
      expect(blob?.fileName).toBe(`${index + 1}`);
      const expected = bytes((index + 1) * 1000, index + 1);
      expect(Buffer.compare(await read(blob), expected)).toBe(0);
    }
  });

  test("of a streamed response arrive with their messages", async () => {
    await blobs.worker({
      async *split({ file }) {
        for await (const part of openBlob(file as Blob)) {
          yield { file: blobOf(part) };
        }
      },
    });
    const content = bytes(5 * chunk + 1);
    const parts: Buffer[] = [];
    const call = await (await blobs.client()).split.submit(
      { file: blobOf(content) },
      { callId: "s" },
    );
    for await (const { file } of call) {
      parts.push(await read(file));
    }
    expect(parts).toHaveLength(6);
    expect(Buffer.compare(Buffer.concat(parts), content)).toBe(0);
    // The past is read like the present.
    const again = await collect((await blobs.client()).split.attach("s"));
    expect(Buffer.compare(await read(again[5]?.file), content.subarray(5 * chunk))).toBe(0);
  });

  test("and a message above max_payload around them", async () => {
    await blobs.worker(copier);
    const connection = await nats.connect();
    const data = bytes(2_000_000);
    const sent = { file: blobOf(bytes(10)), data };
    const result = await (await blobs.client()).copy(sent);
    expect(Buffer.compare(result.data, data)).toBe(0);
    expect(Buffer.compare(await read(result.file), bytes(10))).toBe(0);
    await untilReleased(connection);
  });

  test("of any size, split in any way", async () => {
    await blobs.worker(copier);
    const copy = (await blobs.client()).copy;
    const size = fc.oneof(
      fc.integer({ min: 0, max: 3000 }),
      fc
        .tuple(fc.integer({ min: 0, max: 33 }), fc.integer({ min: -2, max: 2 }))
        .map(([chunks, more]) => Math.max(0, chunks * chunk + more)),
    );
    const splits = fc.array(fc.integer({ min: 0, max: 300_000 }), { minLength: 1, maxLength: 5 });
    await fc.assert(
      fc.asyncProperty(size, splits, async (length, sizes) => {
        const content = bytes(length, length);
        const { file } = await copy({
          file: blobOf(async function* () {
            for (let at = 0, i = 0; at < content.length; i++) {
              // A split of nothing but nothings would never end.
              const part = sizes[i % sizes.length] || (i % 2 ? 7_000 : 0);
              yield content.subarray(at, at + part);
              at += part;
            }
          }),
        });
        expect(file?.digest).toBe(sha256(content));
        expect(Buffer.compare(await read(file), content)).toBe(0);
      }),
      runs(25),
    );
  });
});

describe("a Blob is refused", () => {
  test("that was made by hand, before anything is stored", async () => {
    const connection = await nats.connect();
    const copy = (await blobs.client()).copy;
    const byHand = { object: "queue.Copy._._.other.x.0", size: 3n };
    for (const file of [byHand, create(BlobSchema, byHand), { ...blobOf(bytes(3)) }]) {
      await expect(copy({ file })).rejects.toMatchObject({
        code: Code.FailedPrecondition,
        rawMessage: expect.stringContaining("make it with blobOf() or fileBlob()"),
      });
    }
    expect(() => openBlob(create(BlobSchema, byHand))).toThrow(/made by hand/);
    expect(() => openBlob(undefined)).toThrow(/the field is not set/);
    expect(await objects(connection)).toEqual({});
  });

  test("whose stream was read already", async () => {
    await blobs.worker(copier);
    const copy = (await blobs.client()).copy;
    const file = blobOf(pieces(bytes(10), 5));
    await copy({ file });
    await expect(copy({ file })).rejects.toMatchObject({
      code: Code.FailedPrecondition,
      rawMessage: expect.stringContaining("give blobOf() a function"),
    });
  });

  test("whose source fails or gives no bytes; nothing of it stays", async () => {
    const connection = await nats.connect();
    const copy = (await blobs.client()).copy;
    await expect(copy({ file: fileBlob(join(blobs.folder, "nowhere")) })).rejects.toMatchObject({
      code: Code.FailedPrecondition,
      rawMessage: expect.stringContaining("ENOENT"),
    });
    const failing = async function* () {
      yield bytes(20 * chunk);
      throw new Error("the disk is gone");
    };
    await expect(copy({ file: blobOf(failing()) })).rejects.toMatchObject({
      code: Code.FailedPrecondition,
      rawMessage: expect.stringContaining("the disk is gone"),
    });
    const texts = [..."text"] as unknown as Uint8Array[];
    await expect(
      copy({
        file: blobOf(async function* () {
          yield* texts;
        }),
      }),
    ).rejects.toMatchObject({
      code: Code.InvalidArgument,
      rawMessage: expect.stringContaining("Uint8Array"),
    });
    await until(async () => Object.keys(await objects(connection)).length === 0);
  });

  test("whose object is of another call", async () => {
    const held = gate();
    const files: Blob[] = [];
    await blobs.worker({
      copy: async (request) => {
        if (files.push(request.file as Blob) === 1) {
          await held.opened;
        } else {
          // What a caller could write into its own request.
          Object.assign(request.file as Blob, { object: files[0]?.object });
          await read(request.file);
        }
        return {};
      },
    });
    const copy = (await blobs.client()).copy;
    const first = copy({ file: blobOf(bytes(10)) });
    await until(() => files.length === 1);
    await expect(copy({ file: blobOf(bytes(10)) })).rejects.toMatchObject({
      code: Code.PermissionDenied,
      rawMessage: expect.stringContaining("is not of this call"),
    });
    held.open();
    await first;
  });

  test("in the messages of a direct method", () => {
    const connection = nats.connect();
    return expect(
      connection.then((its) => startWorker(DirectBlobService, {}, its)),
    ).rejects.toMatchObject({
      code: Code.InvalidArgument,
      rawMessage: expect.stringContaining(
        "Read is direct, and test.v1.Files holds a jetrpc.v1.Blob, which is for durable methods: set delivery: DELIVERY_DURABLE, or take the Blob out",
      ),
    });
  });
});

describe("the object of a Blob", () => {
  /** A call whose result has a Blob of three chunks. */
  async function result(): Promise<Blob> {
    await blobs.worker(copier);
    const { file } = await (await blobs.client()).copy({
      file: blobOf(bytes(3 * chunk)),
    });
    return file as Blob;
  }

  test("is one for every client of Object Store, and says whose it is", async () => {
    const connection = await nats.connect();
    const file = await result();
    const bucket = await new Objm(connection.nats).open("BLOB_PAYLOAD");
    const info = await bucket.info(file.object);
    expect(info).toMatchObject({ size: 3 * chunk, chunks: 3, digest: file.digest, deleted: false });
    expect(info?.metadata).toEqual({
      "jetrpc-method": "test.v1.BlobService.Copy",
      "jetrpc-call": expect.stringMatching(/^_\.[^.]+\.\d+$/),
    });
    const got = await bucket.getBlob(file.object);
    expect(Buffer.compare(got ?? Buffer.of(), bytes(3 * chunk))).toBe(0);
  });

  test("that was changed is DataLoss, at the end", async () => {
    const connection = await nats.connect();
    const file = await result();
    const subject = `$O.BLOB_PAYLOAD.C.${file.object}`;
    const [, ...rest] = await collect(openBlob(file));
    await connection.nats.request(
      "$JS.API.STREAM.PURGE.OBJ_BLOB_PAYLOAD",
      `{"filter":"${subject}"}`,
    );
    for (const part of [bytes(chunk, 2), ...rest]) {
      await connection.nats.request(subject, part);
    }
    const failure = { code: Code.DataLoss, rawMessage: expect.stringContaining(file.object) };
    await expect(read(file)).rejects.toMatchObject(failure);
    await expect(saveBlob(file, join(blobs.folder, "damaged"))).rejects.toMatchObject(failure);
    expect((await readdir(blobs.folder)).filter((name) => name.startsWith("damaged"))).toEqual([]);
  });

  test("that is gone is DataLoss that names it", async () => {
    const connection = await nats.connect();
    const file = await result();
    await (await new Objm(connection.nats).open("BLOB_PAYLOAD")).delete(file.object);
    await expect(read(file)).rejects.toMatchObject({
      code: Code.DataLoss,
      rawMessage: expect.stringContaining(`${file.object} of bucket BLOB_PAYLOAD is gone`),
    });
  });
});
