import {
  create,
  createFileRegistry,
  type DescMethodUnary,
  type DescService,
  toBinary,
} from "@bufbuild/protobuf";
import {
  FileDescriptorProtoSchema,
  file_google_protobuf_empty,
  MethodOptions_IdempotencyLevel,
} from "@bufbuild/protobuf/wkt";
import { Code, createClient, describeService, startWorker, type WorkerImpl } from "@jetrpc/runtime";
import { connect } from "@jetrpc/runtime/node";
import { createOperator, type DeadLetter } from "@jetrpc/runtime/operator";
import { startNats } from "@jetrpc/testing";
import { createInbox, type NatsConnection } from "@nats-io/nats-core";
import { describe, expect, test } from "vitest";
import { type Connection as Internal, internalsOf } from "../src/connection.js";
import { RequestSchema, TestService } from "./gen/test/v1/test_pb.js";
import { malformedBlocks, publishRaw, rawHeaders, storeRaw, withLines } from "./raw-headers.js";
import { collect, gate, listedServices, type TestClient, until, useNats } from "./support.js";

const nats = useNats();
const service = "test.v1.TestService";

const request = (text: string) => toBinary(RequestSchema, create(RequestSchema, { text }));
const headers = (...lines: string[]) => withLines("NATS/1.0\r\n\r\n", ...lines);

async function operator() {
  return createOperator(await nats.connect({ as: "operator" }), TestService);
}

/** Waits for the dead letter of a call, or of a message that names none. */
async function letterOf(callId: string | RegExp): Promise<DeadLetter> {
  const self = await operator();
  let found: DeadLetter | undefined;
  await until(async () => {
    const letters = await collect(self.deadLetters());
    found = letters.find((each) => each.callId.match(callId));
    return found !== undefined;
  });
  return found as DeadLetter;
}

async function messagesIn(stream: string): Promise<number> {
  const { nats: root } = await nats.connect();
  const info = await root.request(`$JS.API.STREAM.INFO.${stream}`);
  return (info.json() as { state: { messages: number } }).state.messages;
}

/** Asks a worker directly, with headers that are made by hand. */
async function ask(nc: NatsConnection, subject: string, block: string, data: Uint8Array) {
  return await nc.request(subject, data, { timeout: 60_000, headers: rawHeaders(block) });
}

/** A subject that a connection may listen on. */
function inboxOf(nc: NatsConnection): string {
  const { options } = nc as unknown as { options: { inboxPrefix?: string } };
  return createInbox(options.inboxPrefix);
}

/** A worker of every kind of method, and what its durable ones were given. */
async function echo() {
  const ran: string[] = [];
  const worker = await nats.worker({
    get: ({ text }) => ({ text }),
    do: ({ text }) => {
      ran.push(text);
      return { text };
    },
    async *count({ count }) {
      for (let index = 0; index < count; index++) {
        yield { index };
      }
    },
    async *chat(requests) {
      for await (const { text } of requests) {
        yield { text };
      }
    },
  });
  return Object.assign(worker, { ran });
}

describe("a header block that cannot be read", () => {
  test.each(malformedBlocks)(
    "with %s, of a queued request, ends its call",
    async (_what, block) => {
      const { ran } = await echo();
      const { nats: nc } = await nats.connect({ as: "client" });
      publishRaw(nc, `${service}.queue.Do._._.bad`, block, request("payload"));
      const letter = await letterOf("bad");
      expect(letter.error).toMatchObject({
        code: Code.InvalidArgument,
        rawMessage: expect.stringMatching(/header/),
      });
      expect(await letter.requestBytes()).toEqual(request("payload"));
      const client = await nats.client();
      await expect(client.do.attach("bad").result()).rejects.toMatchObject({
        code: Code.InvalidArgument,
      });
      expect((await client.do({ text: "good" })).text).toBe("good");
      expect(ran).toEqual(["good"]);
      await until(async () => (await messagesIn("TEST")) === 0);
    },
  );

  test("keeps the lines of its block that can be read, and can be replayed", async () => {
    await echo();
    const { nats: nc } = await nats.connect({ as: "client" });
    const block = withLines("NATS/1.0\r\nbad name: x\r\n\r\n", "tenant: acme");
    publishRaw(nc, `${service}.queue.Do._._.bad`, block, request("payload"));
    const letter = await letterOf("bad");
    expect(letter.requestHeader.get("tenant")).toBe("acme");
    await letter.replay();
    expect((await (await nats.client()).do.attach("bad").result()).text).toBe("payload");
  });

  test("of a message that names no call makes a stray of it", async () => {
    const worker = await echo();
    const { nats: nc } = await nats.connect({ as: "client" });
    publishRaw(nc, `${service}.queue.Do._.odd`, "NATS/1.0\r\nbad name: x\r\n\r\n", "payload");
    const letter = await letterOf(/^stray\./);
    expect(await letter.requestBytes()).toEqual(new TextEncoder().encode("payload"));
    expect(worker.logged).toContainEqual(expect.objectContaining({ level: "error" }));
  });

  test.each(malformedBlocks)("with %s, of a direct request, is refused", async (_what, block) => {
    const worker = await echo();
    const { nats: nc } = await nats.connect({ as: "client" });
    for (const method of ["Get", "Chat"]) {
      const reply = await ask(nc, `${service}.rpc.${method}`, block, request("x"));
      expect(reply.headers?.get("Nats-Service-Error-Code")).toBe(`${Code.InvalidArgument}`);
    }
    expect(worker.logged).toContainEqual(
      expect.objectContaining({ level: "warn", method: expect.stringContaining("Get") }),
    );
    const client = await nats.client();
    expect((await client.get({ text: "on" })).text).toBe("on");
  });

  test("of megabytes is refused before it is read", async () => {
    await echo();
    const { nats: nc } = await nats.connect({ as: "client" });
    const lines = Array.from({ length: 100_000 }, (_, i) => `a${i}:\r\n`).join("");
    const reply = await ask(nc, `${service}.rpc.Get`, `NATS/1.0\r\n${lines}\r\n`, request("x"));
    expect(reply.headers?.get("Nats-Service-Error-Code")).toBe(`${Code.InvalidArgument}`);
  });

  test("of a response is Internal, and the next call goes on", async () => {
    const { nats: nc } = await nats.connect();
    const responder = nc.subscribe(`${service}.rpc.Get`, {
      callback: (_error, message) =>
        nc.publish(message.reply ?? "", "", {
          headers: rawHeaders("NATS/1.0\r\nbad name: x\r\n\r\n"),
        }),
    });
    await nc.flush();
    const client = await nats.client();
    await expect(client.get({})).rejects.toMatchObject({
      code: Code.Internal,
      rawMessage: expect.stringContaining("line 1"),
    });
    responder.unsubscribe();
    await echo();
    expect((await client.get({ text: "on" })).text).toBe("on");
  });

  test("of a frame ends its stream on either side", async () => {
    const worker = await echo();
    const client = await nats.client();
    const { nats: root } = await nats.connect();
    const accepts: string[] = [];
    const replies: string[] = [];
    root.subscribe(`${service}.rpc.Chat`, {
      callback: (_error, message) => {
        replies.push(message.reply ?? "");
      },
    });
    root.subscribe(">", {
      callback: (_error, message) => {
        if (message.subject === replies[0] && message.reply?.includes(".stream.Chat.")) {
          accepts.push(message.reply);
        }
      },
    });
    await root.flush();
    const block = "NATS/1.0\r\nbad name: x\r\n\r\n";
    const never = async function* () {
      await new Promise(() => undefined);
      yield {};
    };
    const first = collect(client.chat(never()));
    await until(() => accepts.length === 1);
    publishRaw(root, accepts[0] as string, block);
    await expect(first).rejects.toMatchObject({ code: Code.InvalidArgument });
    const second = collect(client.chat(never()));
    await until(() => replies.length === 2);
    publishRaw(root, replies[1] as string, block);
    await expect(second).rejects.toMatchObject({ code: Code.Internal });
    expect((await client.get({ text: "on" })).text).toBe("on");
    expect(worker.logged.filter(({ message }) => message.includes("came in"))).toEqual([]);
  });

  test("of what is to start later ends its call when it is due", async () => {
    await echo();
    const { nats: nc } = await nats.connect({ as: "client" });
    const block = withLines(
      "NATS/1.0\r\nbad name: x\r\n\r\n",
      `Nats-Schedule: @at ${new Date(Date.now() + 300).toISOString()}`,
      `Nats-Schedule-Target: ${service}.due.queue.Do._._.bad`,
    );
    publishRaw(nc, `${service}.later.Do._._.bad`, block, request("payload"));
    const client = await nats.client();
    await expect(client.do.attach("bad").result()).rejects.toMatchObject({
      code: Code.InvalidArgument,
    });
    expect(await (await letterOf("bad")).requestBytes()).toEqual(request("payload"));
  });

  test("of a request that waits does not keep its caller from canceling", async () => {
    const { nats: nc } = await nats.connect({ as: "client" });
    const client = await nats.client();
    await client.do.submit({}, { callId: "other" });
    await storeRaw(
      nc,
      `${service}.queue.Do._._.bad`,
      "NATS/1.0\r\nbad name: x\r\n\r\n",
      request("x"),
    );
    const call = client.do.attach("bad");
    expect((await call.status()).state).toBe("queued");
    expect(await call.cancel()).toBe(true);
    await expect(call.result()).rejects.toMatchObject({ code: Code.Canceled });
  });

  test("of an answer to INFO is of no worker", async () => {
    await echo();
    const { nats: root } = await nats.connect();
    root.subscribe("$SRV.INFO", {
      callback: (_error, message) =>
        root.publish(message.reply ?? "", "{}", {
          headers: rawHeaders("NATS/1.0\r\nbad name: x\r\n\r\n"),
        }),
    });
    await root.flush();
    expect(await listedServices(await nats.connect({ as: "observer" }), 1)).toHaveLength(1);
  });
});

describe("a call log that cannot be read", () => {
  const blocks = [
    ["a header block", withLines("NATS/1.0\r\nbad name: x\r\n\r\n", "Jetrpc-Entry: message 1")],
    ["no kind", "NATS/1.0\r\n\r\n"],
    ["an unknown outcome", headers("Jetrpc-Entry: end 1 exploded")],
    ["a number of no attempt", headers(`Jetrpc-Entry: message ${"9".repeat(400)}`)],
  ] as const;

  test.each(blocks)("for %s is DataLoss for all who ask", async (_what, block) => {
    const client = await nats.client();
    const { nats: nc } = await nats.connect({ as: "worker" });
    for (const method of ["do", "count"] as const) {
      const call = await client[method].submit({}, { callId: `bad-${method}` });
      const name = method === "do" ? "Do" : "Count";
      const subject = `${service}.log.${name}._._.bad-${method}.entry`;
      await storeRaw(nc, subject, block);
      const isBad = {
        code: Code.DataLoss,
        rawMessage: expect.stringContaining(subject),
      };
      await expect(call.status()).rejects.toMatchObject(isBad);
      await expect(call.cancel()).rejects.toMatchObject(isBad);
      await expect(collect(call.progress())).rejects.toMatchObject(isBad);
      const end = "result" in call ? call.result() : collect(call.messages());
      await expect(end).rejects.toMatchObject(isBad);
    }
  });

  test("is DataLoss for who follows the call already", async () => {
    const client = await nats.client();
    const { nats: nc } = await nats.connect({ as: "worker" });
    const call = await client.count.submit({}, { callId: "bad" });
    const subject = `${service}.log.Count._._.bad.entry`;
    const pages = call.messages()[Symbol.asyncIterator]();
    publishRaw(nc, subject, headers("Jetrpc-Entry: message 1"), new Uint8Array([16, 1]));
    await pages.next();
    const next = pages.next();
    publishRaw(nc, subject, headers("Jetrpc-Entry: page 1"));
    await expect(next).rejects.toMatchObject({ code: Code.DataLoss });
  });

  test.each(blocks)("for %s ends its call in a worker", async (_what, block) => {
    const { nats: nc } = await nats.connect({ as: "worker" });
    const client = await nats.client();
    const call = await client.do.submit({ text: "payload" }, { callId: "bad" });
    await storeRaw(nc, `${service}.log.Do._._.bad.entry`, block);
    const { ran, logged } = await echo();
    const letter = await letterOf("bad");
    expect(letter.error.code).toBe(Code.DataLoss);
    await expect(call.result()).rejects.toMatchObject({ code: Code.DataLoss });
    await until(async () => (await messagesIn("TEST")) === 0);
    expect(logged).toContainEqual(expect.objectContaining({ level: "error", callId: "bad" }));
    expect(ran).toEqual([]);
    await letter.replay();
    expect((await client.do.attach("bad").result()).text).toBe("payload");
  });

  test("while its attempt runs ends it", async () => {
    const begun = gate();
    const go = gate();
    await nats.worker({
      do: async () => {
        begun.open();
        await go.opened;
        return {};
      },
    });
    const client = await nats.client();
    const call = await client.do.submit({}, { callId: "bad" });
    await begun.opened;
    const { nats: nc } = await nats.connect({ as: "client" });
    publishRaw(nc, `${service}.log.Do._._.bad.entry`, headers("Jetrpc-Entry: x"));
    await expect(call.result()).rejects.toMatchObject({ code: Code.DataLoss });
    go.open();
    expect((await letterOf("bad")).error.code).toBe(Code.DataLoss);
    await until(async () => (await messagesIn("TEST")) === 0);
  });

  test("ends its attempt when somebody asks for that", async () => {
    const begun = gate();
    let reason: unknown;
    await nats.worker({
      do: async (_request, { signal }) => {
        begun.open();
        await new Promise((resolve) => signal.addEventListener("abort", resolve));
        reason = signal.reason;
        return {};
      },
    });
    const client = await nats.client();
    await client.do.submit({}, { callId: "bad" });
    await begun.opened;
    const { nats: nc } = await nats.connect({ as: "client" });
    publishRaw(nc, `${service}.log.Do._._.bad.entry`, headers("Jetrpc-Entry: x"));
    nc.publish(`${service}.cancel.Do`, "_._.bad");
    await letterOf("bad");
    await until(() => reason !== undefined);
    expect(reason).toMatchObject({ code: Code.DataLoss });
  });

  test("a message of the response that is none is DataLoss", async () => {
    const client = await nats.client();
    const call = await client.count.submit({}, { callId: "bad" });
    const { nats: nc } = await nats.connect({ as: "worker" });
    const junk = new Uint8Array([255, 255]);
    publishRaw(nc, `${service}.log.Count._._.bad.entry`, headers("Jetrpc-Entry: message 1"), junk);
    await expect(collect(call.messages())).rejects.toMatchObject({ code: Code.DataLoss });
  });

  test.each([
    ["headers", "NATS/1.0\r\nbad name: x\r\n\r\n", new Uint8Array(0)],
    ["payload", headers("Jetrpc-Entry: progress 1"), new Uint8Array([255, 255])],
  ])("progress of malformed %s is DataLoss", async (_what, block, data) => {
    const client = await nats.client();
    const call = await client.do.submit({}, { callId: "bad" });
    const { nats: nc } = await nats.connect({ as: "worker" });
    await storeRaw(nc, `${service}.progress.Do._._.bad.progress`, block, data);
    await expect(call.status()).rejects.toMatchObject({ code: Code.DataLoss });
    await expect(collect(call.progress())).rejects.toMatchObject({ code: Code.DataLoss });
  });
});

test("a call log that goes on after its end leaves no request in the queue", async () => {
  const worker = await nats.worker({ do: () => ({}) });
  await worker.drain();
  const call = await (await nats.client()).do.submit({ text: "late" }, { callId: "late" });
  const { nats: root } = await nats.connect();
  const log = `${service}.log.Do._._.late.entry`;
  for (const lines of [
    ["Jetrpc-Entry: end 0 failed", "Nats-Service-Error-Code: 5", "Nats-Service-Error: gone"],
    ["Jetrpc-Entry: message 1"],
  ]) {
    await ask(root, log, headers(...lines), new Uint8Array(0));
  }
  await nats.worker({ do: () => ({}) });
  const letter = await letterOf(call.id);
  expect(letter.error).toMatchObject({ code: Code.NotFound, rawMessage: "gone" });
  await until(async () => (await messagesIn("TEST")) === 0);
});

test.each([
  ["a later request", (request: number) => `${request + 1_000} 1`],
  ["a later delivery", (request: number) => `${request} 1000000`],
])("a claim of %s that never was does not keep a call from running", async (_what, claim) => {
  const idle = await nats.worker({ do: () => ({}) });
  await idle.drain();
  const call = await (await nats.client()).do.submit({ text: "forged" }, { callId: "forged" });
  const { nats: root } = await nats.connect();
  const info = await root.request("$JS.API.STREAM.INFO.TEST");
  const request = info.json<{ state: { last_seq: number } }>().state.last_seq;
  const { nats: owner } = await nats.connect({ as: "client" });
  const log = `${service}.log.Do._._.forged.entry`;
  await storeRaw(owner, log, headers(`Jetrpc-Entry: attempt 1 ${claim(request)}`));
  const { ran } = await echo();
  expect((await call.result()).text).toBe("forged");
  expect(ran).toEqual(["forged"]);
  await until(async () => (await messagesIn("TEST")) === 0);
});

describe("numbers that came in", () => {
  const none = ["abc", "-5", "1.5", "1e999", "NaN", "0x10", "5 ms"];

  test.each(none)("a timeout of %s is InvalidArgument", async (value) => {
    await echo();
    const { nats: nc } = await nats.connect({ as: "client" });
    const block = headers(`Jetrpc-Timeout-Ms: ${value}`);
    for (const method of ["Get", "Chat"]) {
      const reply = await ask(nc, `${service}.rpc.${method}`, block, request("x"));
      expect(reply.headers?.get("Nats-Service-Error")).toContain("Jetrpc-Timeout-Ms");
    }
    publishRaw(nc, `${service}.queue.Do._._.bad`, block, request("x"));
    const call = (await nats.client()).do.attach("bad");
    await expect(call.result()).rejects.toMatchObject({
      code: Code.InvalidArgument,
      rawMessage: expect.stringContaining("Jetrpc-Timeout-Ms"),
    });
  });

  test("the longest timeout of another language is none", async () => {
    await echo();
    const { nats: nc } = await nats.connect({ as: "client" });
    const block = headers("Jetrpc-Timeout-Ms: 18446744073709551615");
    expect((await ask(nc, `${service}.rpc.Get`, block, request("x"))).headers).toBeUndefined();
    publishRaw(nc, `${service}.queue.Do._._.long`, block, request("x"));
    expect((await (await nats.client()).do.attach("long").result()).text).toBe("x");
  });

  test.each([...none, "1e300", "99999999999999999999"])(
    "a time of acceptance of %s is that of the server",
    async (value) => {
      const client = await nats.client();
      const { nats: nc } = await nats.connect({ as: "client" });
      await client.do.submit({}, { callId: "other" });
      await storeRaw(nc, `${service}.queue.Do._._.odd`, headers(`Jetrpc-Accepted: ${value}`));
      const call = client.do.attach("odd");
      const isNow = async () =>
        Math.abs(Number((await call.status()).acceptedAt) - Date.now()) < 60_000;
      expect(await isNow()).toBe(true);
      await echo();
      await call.result();
      expect(await isNow()).toBe(true);
    },
  );

  test.each([...none, "99999999999999999999"])(
    "a delay of %s makes no invalid Date",
    async (value) => {
      const client = await nats.client();
      const call = await client.do.submit({}, { callId: "odd" });
      const { nats: nc } = await nats.connect({ as: "worker" });
      const block = headers("Jetrpc-Entry: retry 1", `Jetrpc-Delay-Ms: ${value}`);
      await storeRaw(nc, `${service}.log.Do._._.odd.entry`, block);
      const [attempt] = (await call.status()).attempts;
      expect(attempt?.retryAt?.toISOString()).toBeDefined();
    },
  );

  test.each([
    ["1000000000000000 SHA-256=x", Code.ResourceExhausted],
    ["4000000000 SHA-256=x", Code.DataLoss],
    ["-1 SHA-256=x", Code.InvalidArgument],
    ["1e15 SHA-256=x", Code.InvalidArgument],
    ["NaN", Code.InvalidArgument],
  ])("a reference to a payload of %s allocates nothing", async (size, code) => {
    await echo();
    const client = await nats.client();
    // Makes the bucket.
    await client.get({ data: new Uint8Array(1_100_000) });
    const { nats: nc } = await nats.connect({ as: "client" });
    const direct = headers(`Jetrpc-Payload: rpc.Get.none ${size}`);
    const reply = await ask(nc, `${service}.rpc.Get`, direct, new Uint8Array(0));
    expect(reply.headers?.get("Nats-Service-Error-Code")).toBe(`${code}`);
    const queued = headers(`Jetrpc-Payload: queue.Do._._.bad.none.0 ${size}`);
    publishRaw(nc, `${service}.queue.Do._._.bad`, queued);
    await expect(client.do.attach("bad").result()).rejects.toMatchObject({
      code: code === Code.ResourceExhausted ? expect.anything() : code,
    });
  });

  test("an object of more chunks than its size is DataLoss", async () => {
    await echo();
    const client = await nats.client();
    await client.get({ data: new Uint8Array(1_100_000) });
    const { nats: nc } = await nats.connect({ as: "client" });
    for (let chunk = 1; chunk <= 5; chunk++) {
      const block = headers(`Jetrpc-Chunk: ${chunk} ${chunk * 100}`);
      publishRaw(nc, "$O.TEST_PAYLOAD.C.rpc.Get.long", block, new Uint8Array(100));
    }
    const block = headers("Jetrpc-Payload: rpc.Get.long 150 SHA-256=x");
    const reply = await ask(nc, `${service}.rpc.Get`, block, new Uint8Array(0));
    expect(reply.headers?.get("Nats-Service-Error-Code")).toBe(`${Code.DataLoss}`);
    expect(reply.headers?.get("Nats-Service-Error")).toContain("200 bytes");
  });
});

describe("what a server adds to a stored message", () => {
  const forged = headers(
    "Nats-Sequence: 0",
    `Nats-Subject: ${service}.queue.Do._._.other`,
    "Nats-Time-Stamp: never",
  );

  test("is not believed when its sender wrote it", async () => {
    const client = await nats.client();
    const { nats: nc } = await nats.connect({ as: "client" });
    await client.do.submit({}, { callId: "other" });
    await storeRaw(nc, `${service}.queue.Do._._.forged`, forged, request("x"));
    const call = client.do.attach("forged");
    expect((await call.status()).acceptedAt?.getTime()).toBeGreaterThan(0);
    expect(await call.cancel()).toBe(true);
    expect((await client.do.attach("other").status()).state).toBe("queued");
  });

  test("is not believed of a dead letter, either", async () => {
    await echo();
    const { nats: nc } = await nats.connect({ as: "worker" });
    await storeRaw(nc, `${service}.dead.Do._._.forged`, forged, request("x"));
    const letters = await collect((await operator()).deadLetters());
    expect(letters.map(({ callId }) => callId)).toEqual(["forged"]);
    await letters[0]?.discard();
    expect(await messagesIn("TEST_DEAD")).toBe(0);
  });
});

describe("subjects", () => {
  test("with a wildcard for an id name no call", async () => {
    const worker = await echo();
    const client = await nats.client();
    await client.do.submit({ text: "done" }, { callId: "other" });
    expect((await client.do.attach("other").result()).text).toBe("done");
    const { nats: nc } = await nats.connect({ as: "client" });
    nc.publish(`${service}.queue.Do._._.*`, request("all"));
    const letter = await letterOf(/^stray\./);
    expect(await letter.requestBytes()).toEqual(request("all"));
    expect(worker.ran).toEqual(["done"]);
  });

  test("that a service gives for its descriptors are no order to JetStream", async () => {
    const client = await nats.client();
    await client.do.submit({}, { callId: "kept" });
    const { nats: root } = await nats.connect();
    root.subscribe("$SRV.INFO.test_v1_TestService", {
      callback: (_error, message) => {
        message.respond(
          JSON.stringify({
            metadata: {
              "jetrpc-service": service,
              "jetrpc-describe": "$JS.API.STREAM.DELETE.TEST",
            },
          }),
        );
      },
    });
    await root.flush();
    // On a busy machine the answer may come late.
    const described = describeService(await nats.connect(), service, { timeoutMs: 60_000 });
    await expect(described).rejects.toMatchObject({ code: Code.Internal });
    expect(await messagesIn("TEST")).toBe(1);
  });
});

describe("a dead letter", () => {
  test("of a request that fills its message has its payload as an object", async () => {
    await echo();
    const { nats: nc } = await nats.connect({ as: "client" });
    const junk = new Uint8Array(nc.info?.max_payload ?? 0).fill(255);
    nc.publish(`${service}.queue.Do._._.full`, junk);
    const letter = await letterOf("full");
    expect(Buffer.compare(await letter.requestBytes(), junk)).toBe(0);
    await until(async () => (await messagesIn("TEST")) === 0);
    await letter.discard();
  });

  test("of a request that fills its headers lacks what there is no room for", async () => {
    await echo();
    const { nats: nc } = await nats.connect({ as: "client" });
    const block = headers(`filler: ${"x".repeat(64_700)}`, "tenant: acme");
    publishRaw(nc, `${service}.queue.Do._._.full`, block, new Uint8Array([255]));
    const letter = await letterOf("full");
    expect(letter.error.code).toBe(Code.InvalidArgument);
    expect(await letter.requestBytes()).toEqual(new Uint8Array([255]));
  });
});

describe("discovery", () => {
  test("ignores answers of odd shapes", async () => {
    await echo();
    const { nats: root } = await nats.connect();
    const answers = [
      "",
      "null",
      "[]",
      "7",
      '"x"',
      "[".repeat(100_000),
      '{"metadata": 3}',
      '{"metadata": {"jetrpc-service": 5}}',
      '{"metadata": {"jetrpc-service": "odd.v1.A"}, "endpoints": null}',
      '{"metadata": {"jetrpc-service": "odd.v1.B"}, "endpoints": [null, 3, {"name": 4, "metadata": null}]}',
    ];
    root.subscribe("$SRV.INFO", {
      callback: (_error, message) => {
        for (const answer of answers) {
          root.publish(message.reply ?? "", answer);
        }
      },
    });
    await root.flush();
    const services = await listedServices(await nats.connect({ as: "observer" }), 3);
    services.sort((a, b) => a.typeName.localeCompare(b.typeName));
    expect(services.map(({ typeName }) => typeName)).toEqual(["odd.v1.A", "odd.v1.B", service]);
    const empty = { name: "", kind: "", delivery: "durable", input: "", output: "" };
    expect(services[1]?.methods).toEqual([empty, empty, empty]);
  });
});

describe("a stream", () => {
  test("whose sender does not wait for credit ends", async () => {
    const begun = gate();
    await nats.worker({
      async *chat() {
        begun.open();
        await new Promise(() => undefined);
        yield {};
      },
    });
    const { nats: nc } = await nats.connect({ as: "client" });
    const ends: string[] = [];
    const inbox = inboxOf(nc);
    let peer = "";
    nc.subscribe(inbox, {
      callback: (_error, message) => {
        peer ||= message.reply ?? "";
        if (message.headers?.get("Jetrpc-Frame").startsWith("end")) {
          ends.push(message.headers.get("Nats-Service-Error"));
        }
      },
    });
    nc.publish(`${service}.rpc.Chat`, "", { reply: inbox });
    await begun.opened;
    await until(() => peer !== "");
    for (let number = 0; number < 100; number++) {
      const frame = new Uint8Array(60_000);
      new DataView(frame.buffer).setUint32(0, number);
      nc.publish(peer, frame);
    }
    await until(() => ends.length > 0);
    expect(ends[0]).toContain("credit");
  });

  test("whose worker takes frames on another subject ends", async () => {
    const { nats: root } = await nats.connect();
    root.subscribe(`${service}.rpc.Chat`, {
      callback: (_error, message) => {
        root.publish(message.reply ?? "", "", {
          reply: `${service}.queue.Do._._.x`,
          headers: rawHeaders(headers("Jetrpc-Frame: accept")),
        });
      },
    });
    await root.flush();
    const requests = async function* () {
      yield { text: "x" };
    };
    await expect(collect((await nats.client()).chat(requests()))).rejects.toMatchObject({
      code: Code.Internal,
      rawMessage: expect.stringContaining(".queue."),
    });
  });

  /** A frame with all of a message, and one with a part of the next. */
  const whole = new Uint8Array([0, 0, 0, 0, 3, 10, 1, 120]);
  const cut = new Uint8Array([0, 0, 0, 1, 100, 10, 98, 120]);

  test("whose caller ends in the middle of a message ends with InvalidArgument", async () => {
    const texts: string[] = [];
    const ended = gate();
    await nats.worker({
      async *chat(requests) {
        try {
          for await (const { text } of requests) {
            texts.push(text);
          }
        } finally {
          ended.open();
        }
        yield { text: "all came" };
      },
    });
    const { nats: nc } = await nats.connect({ as: "client" });
    const inbox = inboxOf(nc);
    const end = new Promise<string>((resolve) => {
      nc.subscribe(inbox, {
        callback: (_error, message) => {
          const frame = message.headers?.get("Jetrpc-Frame") ?? "";
          if (frame.startsWith("accept")) {
            nc.publish(message.reply ?? "", whole);
            nc.publish(message.reply ?? "", cut);
            publishRaw(nc, message.reply ?? "", headers("Jetrpc-Frame: end 2"));
          } else if (frame.startsWith("end")) {
            resolve(message.headers?.get("Nats-Service-Error-Code") ?? "");
          }
        },
      });
    });
    nc.publish(`${service}.rpc.Chat`, "", { reply: inbox });
    expect(await end).toBe(`${Code.InvalidArgument}`);
    await ended.opened;
    expect(texts).toEqual(["x"]);
  });

  test("whose worker ends in the middle of a message ends with Internal", async () => {
    const { nats: root } = await nats.connect();
    root.subscribe(`${service}.rpc.Down`, {
      callback: (_error, { reply = "" }) => {
        root.publish(reply, "", {
          reply: `${service}.stream.Down.worker.stream`,
          headers: rawHeaders(headers("Jetrpc-Frame: accept")),
        });
        root.publish(reply, whole);
        root.publish(reply, cut);
        root.publish(reply, "", { headers: rawHeaders(headers("Jetrpc-Frame: end 2")) });
      },
    });
    await root.flush();
    const texts: string[] = [];
    const read = async () => {
      for await (const { text } of (await nats.client()).down({})) {
        texts.push(text);
      }
    };
    await expect(read()).rejects.toMatchObject({
      code: Code.Internal,
      rawMessage: "the stream ended in the middle of a message",
    });
    expect(texts).toEqual(["x"]);
  });

  test.each(["credit -1", "credit x", "end 1e3", "end", "credit 1 2", "page 1"])(
    "ends with a frame of %s",
    async (frame) => {
      await echo();
      const { nats: nc } = await nats.connect({ as: "client" });
      const inbox = inboxOf(nc);
      let isSent = false;
      const end = new Promise<string>((resolve) => {
        nc.subscribe(inbox, {
          callback: (_error, message) => {
            if (message.reply && !isSent) {
              isSent = true;
              publishRaw(nc, message.reply, headers(`Jetrpc-Frame: ${frame}`));
            } else if (message.headers?.get("Jetrpc-Frame").startsWith("end")) {
              resolve(message.headers.get("Nats-Service-Error-Code"));
            }
          },
        });
      });
      nc.publish(`${service}.rpc.Chat`, "", { reply: inbox });
      expect(await end).toBe(`${Code.InvalidArgument}`);
    },
  );
});

describe("bytes", () => {
  /** What postMessage(data, [data.buffer]) does. */
  const transfer = (bytes: Uint8Array) => {
    // An array of larger numbers finds them aligned, and nothing else goes along.
    expect([bytes.byteOffset, bytes.buffer.byteLength]).toEqual([0, bytes.length]);
    return structuredClone(bytes, { transfer: [bytes.buffer as ArrayBuffer] });
  };

  test.each([1, 100, 20_000, 300_000])(
    "of %i may be transferred by a handler and by a caller",
    async (size) => {
      await nats.worker({
        get: ({ data }) => ({ data: transfer(data) }),
        do: ({ data }) => ({ data: transfer(data) }),
        async *chat(requests) {
          for await (const { data } of requests) {
            yield { data: transfer(data) };
          }
        },
      });
      const client = await nats.client();
      const payloads = Array.from({ length: size > 100_000 ? 5 : 50 }, (_, i) =>
        new Uint8Array(size).fill(i),
      );
      const through = async (response: Promise<{ data: Uint8Array }>) =>
        transfer((await response).data);
      const direct = payloads.map((data) => through(client.get({ data })));
      const durable = payloads.map((data) => through(client.do({ data })));
      const sent = Buffer.concat(payloads);
      expect(Buffer.concat(await Promise.all(direct)).equals(sent)).toBe(true);
      expect(Buffer.concat(await Promise.all(durable)).equals(sent)).toBe(true);
      const requests = (async function* () {
        for (const data of payloads) {
          yield { data };
        }
      })();
      const streamed: Uint8Array[] = [];
      for await (const { data } of client.chat(requests)) {
        streamed.push(transfer(data));
      }
      expect(Buffer.concat(streamed).equals(sent)).toBe(true);
    },
  );

  test("of a dead letter may be transferred", async () => {
    await echo();
    const { nats: nc } = await nats.connect({ as: "client" });
    nc.publish(`${service}.queue.Do._._.a`, new Uint8Array([255, 1]));
    nc.publish(`${service}.queue.Do._._.b`, new Uint8Array([255, 2]));
    await letterOf("a");
    await letterOf("b");
    const letters = await collect((await operator()).deadLetters());
    const got: Uint8Array[] = [];
    for (const letter of letters) {
      transfer(await letter.requestBytes());
      got.push(transfer(await letter.requestBytes()));
    }
    expect(got.map((each) => each[1]).sort()).toEqual([1, 2]);
  });
});

describe("a server", () => {
  test("whose max_payload leaves no room is refused", async () => {
    await using server = await startNats({ maxPayload: 1_024 });
    await expect(connect({ nats: { servers: server.url } })).rejects.toMatchObject({
      code: Code.FailedPrecondition,
      rawMessage: expect.stringMatching(/max_payload.* 1024 .*16384/),
    });
  });

  test("of the least max_payload carries everything", async () => {
    await using server = await startNats({ maxPayload: 16_384 });
    const connection = await connect({ nats: { servers: server.url } });
    const worker = await startWorker(
      TestService,
      { get: ({ data }) => ({ data }), do: ({ data }) => ({ data }) },
      connection,
    );
    const client = createClient<TestClient>(TestService, connection);
    for (const size of [0, 10_000, 12_288, 16_384, 300_000]) {
      const data = new Uint8Array(size).fill(7);
      expect(Buffer.compare((await client.get({ data })).data, data)).toBe(0);
      expect(Buffer.compare((await client.do({ data })).data, data)).toBe(0);
    }
    await worker.drain();
    await connection.close();
  });

  test("that comes back with less max_payload ends the connection", async () => {
    await using first = await startNats();
    const connection = await connect({ nats: { servers: first.url } });
    await first.stop();
    await using _second = await startNats({ maxPayload: 1_024, port: first.port });
    expect(await connection.closed).toMatchObject({ code: Code.FailedPrecondition });
  });

  test("whose account has no room left is ResourceExhausted", async () => {
    await using server = await startNats({
      config: `accounts: { A: { users: [{ user: a, password: a }], jetstream: { max_file: 300KB } } }`,
    });
    const connection = await connect({ nats: { servers: server.url, user: "a", pass: "a" } });
    const client = createClient<TestClient>(TestService, connection);
    const fill = async () => {
      for (;;) {
        await client.do.submit({ data: new Uint8Array(50_000) });
      }
    };
    await expect(fill()).rejects.toMatchObject({
      code: Code.ResourceExhausted,
      rawMessage: expect.stringContaining("10002"),
    });
    await connection.close();
  });
});

test("a worker of thousands of methods works, and says how many there are", async () => {
  const many = manyMethods(8_000);
  const connection = await nats.connect();
  const worker = await startWorker(
    many,
    Object.fromEntries(
      many.methods.map(({ localName }) => [localName, () => ({})]),
    ) as unknown as Partial<WorkerImpl<DescService>>,
    connection,
  );
  const [info] = await listedServices(connection, 1);
  expect(info).toMatchObject({ typeName: many.typeName, methodCount: 8_000 });
  expect(info?.methods.length).toBeGreaterThan(1_000);
  const stats = await connection.nats.request("$SRV.STATS", "", { timeout: 60_000 });
  expect((stats.json() as { endpoints: unknown[] }).endpoints.length).toBeGreaterThan(1_000);
  const first = many.methods[0] as DescMethodUnary;
  await connection.transport.unary(first, undefined, undefined, undefined, {});
  await worker.drain();
});

function manyMethods(count: number): DescService {
  const file = create(FileDescriptorProtoSchema, {
    name: "many.proto",
    package: "many.v1",
    syntax: "proto3",
    dependency: ["google/protobuf/empty.proto"],
    service: [
      {
        name: "ManyService",
        method: Array.from({ length: count }, (_, index) => ({
          name: `Method${index}`,
          inputType: ".google.protobuf.Empty",
          outputType: ".google.protobuf.Empty",
          options: { idempotencyLevel: MethodOptions_IdempotencyLevel.NO_SIDE_EFFECTS },
        })),
      },
    ],
  });
  return createFileRegistry(file, () => file_google_protobuf_empty).getService(
    "many.v1.ManyService",
  ) as DescService;
}

describe("a callback that throws", () => {
  test("is told, and does not end what is read", async () => {
    const connection = await nats.connect();
    const { link } = internalsOf(connection as unknown as Internal);
    const faults: unknown[] = [];
    link.onFault((error) => {
      faults.push(error);
      throw new Error("a listener that fails");
    });
    const heard: string[] = [];
    link.subscribe("odd.subject", (message) => {
      heard.push(message.string());
      throw new Error(message.string());
    });
    link.publish("odd.subject", "1");
    link.publish("odd.subject", "2");
    await connection.nats.flush();
    expect(heard).toEqual(["1", "2"]);
    expect(faults).toEqual([new Error("1"), new Error("2")]);
  });
});
