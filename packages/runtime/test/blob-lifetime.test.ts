import { type Blob, blobOf, Code, ConnectError, type Connection } from "@jetrpc/runtime";
import { createOperator, type DeadLetter } from "@jetrpc/runtime/operator";
import { headers } from "@nats-io/transport-node";
import { describe, expect, test } from "vitest";
import {
  bytes,
  chunk,
  copier,
  objects,
  read,
  requestChunks,
  sha256,
  untilReleased,
  useBlobs,
} from "./blob-support.js";
import { BlobService } from "./gen/test/v1/blob_pb.js";
import { collect, gate, until, useNats } from "./support.js";

const nats = useNats([BlobService]);
const blobs = useBlobs(nats);

const content = bytes(2 * chunk + 1);
const large = bytes(1_500_000);

function operator(connection: Connection) {
  return createOperator(connection, BlobService);
}

async function theLetter(connection: Connection): Promise<DeadLetter> {
  let letters: DeadLetter[] = [];
  await until(async () => {
    letters = await collect(operator(connection).deadLetters());
    return letters.length === 1;
  });
  return letters[0] as DeadLetter;
}

test("the objects of a response go when its first attempt ends the call with an error", async () => {
  const connection = await nats.connect();
  await blobs.worker(
    { copy: () => ({ file: blobOf(content), data: bytes(5_000) }) },
    { writeMaxBytes: 1_000 },
  );
  const call = (await blobs.client()).copy({});
  await expect(call).rejects.toMatchObject({ code: Code.ResourceExhausted });
  await until(async () => {
    const names = Object.keys(await objects(connection));
    return names.length === 0;
  });
});

describe("the objects of a request", () => {
  test("are there for every attempt, and go when the call has ended", async () => {
    const connection = await nats.connect();
    const seen: string[] = [];
    await blobs.worker({
      copy: async ({ file }, { attempt }) => {
        seen.push(sha256(await read(file)));
        if (attempt < 3) {
          throw new ConnectError("again", Code.Unavailable);
        }
        return {};
      },
    });
    await (await blobs.client()).copy({ file: blobOf(content), data: large });
    expect(seen).toEqual(Array(3).fill(sha256(content)));
    await untilReleased(connection);
    // What takes their place goes, too.
    await until(async () => Object.keys(await objects(connection)).length === 0);
  });

  test("go when the call is canceled, queued or running", async () => {
    const connection = await nats.connect();
    const copy = (await blobs.client()).copy;
    const queued = await copy.submit({ file: blobOf(content), data: large });
    expect(await requestChunks(connection)).toBe(3 + Math.ceil(large.length / chunk));
    await queued.cancel();
    await untilReleased(connection);
    const began = gate();
    await blobs.worker({
      copy: async (_request, { signal }) => {
        began.open();
        await new Promise((_, reject) => {
          signal.addEventListener("abort", () => reject(signal.reason));
        });
        return {};
      },
    });
    const running = await copy.submit({ file: blobOf(content) });
    await began.opened;
    await running.cancel();
    await untilReleased(connection);
  });

  test("stay with a dead letter that is shown, and go when it is discarded", async () => {
    const connection = await nats.connect();
    const refuse = () => {
      throw new ConnectError("no", Code.InvalidArgument);
    };
    await blobs.worker({ copy: refuse });
    const copy = (await blobs.client()).copy;
    const call = await copy.submit({ file: blobOf(content), data: large }, { callId: "dead" });
    await expect(call.result()).rejects.toMatchObject({ code: Code.InvalidArgument });
    const letter = await theLetter(connection);
    const request = (await letter.request()) as unknown as { file: Blob };
    expect(sha256(await read(request.file))).toBe(sha256(content));
    await letter.discard();
    await untilReleased(connection);
  });

  test("are there when a dead letter is replayed, and go when that has ended", async () => {
    const connection = await nats.connect();
    let isMended = false;
    await blobs.worker({
      copy: (request) => {
        if (!isMended) {
          throw new ConnectError("no", Code.InvalidArgument);
        }
        return request;
      },
    });
    const copy = (await blobs.client()).copy;
    const call = await copy.submit({ file: blobOf(content), data: large }, { callId: "again" });
    await expect(call.result()).rejects.toMatchObject({ code: Code.InvalidArgument });
    isMended = true;
    await (await theLetter(connection)).replay();
    const result = await copy.attach("again").result();
    expect(sha256(await read(result.file))).toBe(sha256(content));
    expect(Buffer.compare(result.data, large)).toBe(0);
    await untilReleased(connection);
  });

  test("that a dead letter and a later call share stay with the dead letter", async () => {
    const connection = await nats.connect();
    let isMended = false;
    await blobs.worker({
      copy: () => {
        if (!isMended) {
          throw new ConnectError("no", Code.InvalidArgument);
        }
        return {};
      },
    });
    const copy = (await blobs.client()).copy;
    const submit = () => copy.submit({ file: blobOf(content) }, { callId: "shared" });
    await expect((await submit()).result()).rejects.toMatchObject({ code: Code.InvalidArgument });
    const letter = await theLetter(connection);
    const queued = async () => {
      const reply = await connection.nats.request("$JS.API.STREAM.INFO.BLOB");
      return (reply.json() as { state: { messages: number } }).state.messages;
    };
    await until(async () => (await queued()) === 0);
    // Its log is older than its retention.
    await connection.nats.request("$JS.API.STREAM.PURGE.BLOB_LOG");
    isMended = true;
    await (await submit()).result();
    const request = (await letter.request()) as unknown as { file: Blob };
    expect(sha256(await read(request.file))).toBe(sha256(content));
  });
});

describe("the bucket", () => {
  test("keeps what is queued for ever, and results a day longer than their log", async () => {
    const connection = await nats.connect();
    const copy = (await blobs.client()).copy;
    const call = await copy.submit({ file: blobOf(content), data: large });
    await blobs.worker(copier);
    const ttls = new Map<string, string>();
    connection.nats.subscribe("$O.BLOB_PAYLOAD.*.log.>", {
      callback: (_error, { subject, headers }) => {
        ttls.set(subject, headers?.get("Nats-TTL") ?? "");
      },
    });
    const { file } = await call.result();
    const sevenDaysAndOne = `${8 * 24 * 3600}s`;
    await until(() => ttls.size === 2);
    expect([...ttls.values()]).toEqual([sevenDaysAndOne, sevenDaysAndOne]);
    expect([...ttls.keys()]).toContain(`$O.BLOB_PAYLOAD.C.${file?.object}`);
    const reply = await connection.nats.request("$JS.API.STREAM.INFO.OBJ_BLOB_PAYLOAD");
    const { config } = reply.json() as { config: object };
    expect(config).toMatchObject({ max_age: 0, discard: "new", allow_msg_ttl: true });
  });

  // To an administrator, who may look at it.
  test("that differs from the schema is shown", async () => {
    const connection = await nats.connect();
    const other = {
      name: "OBJ_BLOB_PAYLOAD",
      subjects: ["$O.BLOB_PAYLOAD.C.>"],
      storage: "memory",
    };
    await connection.nats.request(`$JS.API.STREAM.DELETE.${other.name}`);
    await connection.nats.request(`$JS.API.STREAM.CREATE.${other.name}`, JSON.stringify(other));
    await expect(blobs.worker(copier, { connection })).rejects.toMatchObject({
      code: Code.FailedPrecondition,
      rawMessage: expect.stringContaining('storage is "memory", the schema says "file"'),
    });
  });
});

describe("a sweep", () => {
  test("removes what is old and whose call is gone, and nothing else", async () => {
    const connection = await nats.connect();
    const copy = (await blobs.client()).copy;
    const sweep = () => operator(connection).sweepPayloads({ olderThanMs: 0 });
    // Two that are queued, one of them for later; one that is dead; one with a result.
    await copy.submit({ file: blobOf(content) }, { callId: "queued" });
    const notBefore = new Date(Date.now() + 3600_000);
    await copy.submit({ file: blobOf(content) }, { callId: "later", notBefore });
    await blobs.worker({
      copy: (request) => {
        if (request.choice.case === "text") {
          throw new ConnectError("no", Code.InvalidArgument);
        }
        return request;
      },
    });
    expect(sha256(await read((await copy.attach("queued").result()).file))).toBe(sha256(content));
    const choice = { case: "text", value: "die" } as const;
    await copy.submit({ file: blobOf(content), choice }, { callId: "dead" });
    await theLetter(connection);
    await untilIdle(connection);
    const before = await objects(connection);
    expect(await sweep()).toBe(0);
    expect(await objects(connection)).toEqual(before);

    // A client that crashed before it queued the call, in two places of its upload.
    for (const object of ["queue.Copy._._.lost.base.0", "queue.Copy._._.later.other.0"]) {
      await connection.nats.request(`$O.BLOB_PAYLOAD.C.${object}`, "x");
    }
    const name = Buffer.from("queue.Copy._._.gone.base.0").toString("base64");
    await connection.nats.request(`$O.BLOB_PAYLOAD.M.${name}`, "{}");
    // Not of this schema, or not of jetrpc at all.
    await connection.nats.request("$O.BLOB_PAYLOAD.C.queue.Other._._.x.base.0", "x");
    await connection.nats.request("$O.BLOB_PAYLOAD.C.foreign", "x");
    expect(await operator(connection).sweepPayloads()).toBe(0);
    expect(await sweep()).toBe(3);
    await until(
      async () => Object.keys(await objects(connection)).length === Object.keys(before).length + 2,
    );
    // A dead letter that is older than its retention.
    await connection.nats.request("$JS.API.STREAM.PURGE.BLOB_DEAD");
    const left = Object.keys(await objects(connection)).length;
    expect(await sweep()).toBe(1);
    await until(async () => Object.keys(await objects(connection)).length === left - 2);
    expect(await sweep()).toBe(0);
  });

  test("leaves what an upload goes on with meanwhile", async () => {
    const connection = await nats.connect();
    const copy = (await blobs.client()).copy;
    await copy.submit({ file: blobOf(content) }, { callId: "first" });
    const [subject = ""] = Object.keys(await objects(connection));
    const removal = headers();
    removal.set("Nats-Rollup", "sub");
    removal.set("Nats-Expected-Last-Subject-Sequence", "1");
    // What a sweep does that saw the first chunk only.
    const reply = await connection.nats.request(subject, "", { headers: removal, timeout: 60_000 });
    expect(reply.json()).toMatchObject({ error: { err_code: 10071 } });
    expect(await requestChunks(connection)).toBe(3);
  });
});

/** Waits until workers have nothing to do, and what they removed is gone. */
async function untilIdle(connection: Connection): Promise<void> {
  await until(async () => {
    const [queue] = await operator(connection).queues();
    const all = Object.values(await objects(connection));
    return queue?.queued === 0 && queue.running === 0 && all.length === 6;
  });
}
