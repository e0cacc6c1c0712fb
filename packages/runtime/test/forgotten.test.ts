import { cp, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Code, type Connection } from "@jetrpc/runtime";
import { startNats } from "@jetrpc/testing";
import type { Msg } from "@nats-io/nats-core";
import { expect, onTestFinished, test } from "vitest";
import { storeRaw, withLines } from "./raw-headers.js";
import { gate, until, useNats } from "./support.js";

const nats = useNats();

async function stateOf({ nats }: Connection, stream: string) {
  try {
    // A request that a server took with it when it stopped has no answer.
    const reply = await nats.request(`$JS.API.STREAM.INFO.${stream}`, "", { timeout: 1_000 });
    return (reply.json() as { state: { messages: number; last_seq: number } }).state;
  } catch {
    return { messages: -1, last_seq: -1 };
  }
}

/** A server that comes back with the messages of a stream as they were, and with all else as it is. */
async function startForgetful() {
  const directory = await mkdtemp(join(tmpdir(), "jetrpc-forgotten-"));
  onTestFinished(() => rm(directory, { recursive: true, force: true }));
  const storeDir = join(directory, "store");
  const messages = (stream: string) => join(storeDir, "jetstream/$G/streams", stream, "msgs");
  let server = await startNats({ storeDir });
  const { url, port } = server;
  const around = async (work: () => Promise<void>) => {
    await server.stop();
    await work();
    server = await startNats({ storeDir, port });
  };
  return {
    url,
    keep: (stream: string) =>
      around(() => cp(messages(stream), join(directory, "kept"), { recursive: true })),
    bringBack: (stream: string) =>
      around(async () => {
        await rm(messages(stream), { recursive: true });
        await cp(join(directory, "kept"), messages(stream), { recursive: true });
      }),
    [Symbol.asyncDispose]: () => server.stop(),
  };
}

test.each([
  { what: "were queued", stream: "TEST", delayMs: undefined },
  { what: "were due", stream: "TEST_LATER", delayMs: 500 },
])(
  "what a server brings back of calls that $what leaves again, and runs no second time",
  async (how) => {
    await using server = await startForgetful();
    const { url } = server;
    const client = await nats.client({ url });
    const root = await nats.connect({ url });
    // More than are put in again in one round.
    const callIds = Array.from({ length: 600 }, (_, i) => `call-${i}`);
    const options = how.delayMs ? { notBefore: new Date(Date.now() + how.delayMs) } : {};
    const calls = await Promise.all(
      callIds.map((callId) => client.do.submit({}, { callId, ...options })),
    );
    // What is due was stored twice: to start later, and to start now.
    const stored = callIds.length * (how.delayMs ? 2 : 1);
    await until(async () => (await stateOf(root, how.stream)).last_seq === stored);
    await server.keep(how.stream);
    const ran: string[] = [];
    const worker = await nats.worker(
      {
        do: (_, { callId }) => {
          ran.push(callId);
          return {};
        },
      },
      { url },
    );
    await Promise.all(calls.map((call) => call.result()));
    await until(async () => (await stateOf(root, how.stream)).messages === 0);
    await server.bringBack(how.stream);
    await until(async () => (await stateOf(root, how.stream)).messages > 0);
    await until(async () => (await stateOf(root, how.stream)).messages === 0);
    await until(async () => (await stateOf(root, "TEST")).messages === 0);
    expect(worker.logged.map(({ message }) => message)).toContain(
      "a forgotten request was put in again",
    );
    expect(ran.sort()).toEqual(callIds.sort());
  },
);

test("what a server brings back leaves again while a call before it runs", async () => {
  await using server = await startForgetful();
  const { url } = server;
  const client = await nats.client({ url });
  const root = await nats.connect({ url });
  const callIds = Array.from({ length: 60 }, (_, i) => `call-${i}`);
  const long = await client.do.submit({}, { callId: "long" });
  const calls = await Promise.all(callIds.map((callId) => client.do.submit({}, { callId })));
  await server.keep("TEST");
  const released = gate();
  const worker = await nats.worker(
    {
      async do(_, { callId }) {
        if (callId === "long") {
          await released.opened;
        }
        return {};
      },
    },
    { url },
  );
  await Promise.all(calls.map((call) => call.result()));
  await until(async () => (await stateOf(root, "TEST")).messages === 1);
  await server.bringBack("TEST");
  await until(async () => (await stateOf(root, "TEST")).messages > 1);
  await until(async () => (await stateOf(root, "TEST")).messages === 1);
  expect((await long.status()).state).not.toBe("succeeded");
  released.open();
  await long.result();
  expect(worker.logged.map(({ message }) => message)).toContain(
    "a forgotten request was put in again",
  );
});

test("what a server brings back of calls that were due leaves again while one before it is under way", async () => {
  await using server = await startForgetful();
  const { url } = server;
  const client = await nats.client({ url });
  const root = await nats.connect({ url });
  // Makes the consumer.
  await (await nats.worker({ do: () => ({}) }, { url })).drain();
  const soon = () => new Date(Date.now() + 500);
  const held = await client.do.submit({}, { callId: "held", notBefore: soon() });
  let taken: Msg | undefined;
  root.nats.subscribe("test.due", {
    callback: (_error, message) => {
      taken ??= message;
    },
  });
  root.nats.publish(
    "$JS.API.CONSUMER.MSG.NEXT.TEST_LATER.Do",
    JSON.stringify({ batch: 1, expires: 60_000_000_000 }),
    { reply: "test.due" },
  );
  await until(() => taken !== undefined);
  // Nobody acknowledges it: all that follows lies above the acknowledged floor.
  const holding = setInterval(() => taken?.respond("+WPI"), 1_000);
  onTestFinished(() => clearInterval(holding));
  const callIds = Array.from({ length: 5 }, (_, i) => `call-${i}`);
  const calls = await Promise.all(
    callIds.map((callId) => client.do.submit({}, { callId, notBefore: soon() })),
  );
  // Each was stored twice: to start later, and to start now.
  const stored = 2 * (callIds.length + 1);
  await until(async () => (await stateOf(root, "TEST_LATER")).last_seq === stored);
  await server.keep("TEST_LATER");
  const ran: string[] = [];
  const worker = await nats.worker(
    {
      do: (_, { callId }) => {
        ran.push(callId);
        return {};
      },
    },
    { url },
  );
  await Promise.all(calls.map((call) => call.result()));
  await until(async () => (await stateOf(root, "TEST_LATER")).messages === 1);
  await server.bringBack("TEST_LATER");
  await until(async () => (await stateOf(root, "TEST_LATER")).messages > 1);
  await until(async () => (await stateOf(root, "TEST_LATER")).messages === 1);
  expect(worker.logged.map(({ message }) => message)).toContain(
    "a forgotten request was put in again",
  );
  clearInterval(holding);
  taken?.respond("-NAK");
  await held.result();
  expect(ran.sort()).toEqual([...callIds, "held"].sort());
});

test("a forgotten request that fits no more keeps no other from being put in again", async () => {
  await using server = await startForgetful();
  const { url } = server;
  const client = await nats.client({ url });
  const root = await nats.connect({ url });
  const calls = [
    await client.do.submit({ text: "x".repeat(10_000) }, { callId: "large" }),
    await client.do.submit({}, { callId: "small" }),
  ];
  await server.keep("TEST");
  const worker = await nats.worker({ do: () => ({}) }, { url });
  await Promise.all(calls.map((call) => call.result()));
  await until(async () => (await stateOf(root, "TEST")).messages === 0);
  const { config } = (await root.nats.request("$JS.API.STREAM.INFO.TEST")).json<{
    config: object;
  }>();
  const less = JSON.stringify({ ...config, max_msg_size: 5_000 });
  await root.nats.request("$JS.API.STREAM.UPDATE.TEST", less);
  await server.bringBack("TEST");
  await until(async () => (await stateOf(root, "TEST")).messages === 1);
  expect(worker.logged.map(({ message }) => message)).toContain(
    "a forgotten request cannot be put in again: purge its subject",
  );
});

test("a call that is due ends where its queue will never take it", async () => {
  const client = await nats.client();
  const root = await nats.connect();
  const worker = await nats.worker({ do: () => ({}) });
  const { config } = (await root.nats.request("$JS.API.STREAM.INFO.TEST")).json<{
    config: object;
  }>();
  const less = JSON.stringify({ ...config, max_msg_size: 5_000 });
  await root.nats.request("$JS.API.STREAM.UPDATE.TEST", less);
  const notBefore = new Date(Date.now() + 500);
  const call = await client.do.submit({ text: "x".repeat(10_000) }, { notBefore });
  await expect(call.result()).rejects.toMatchObject({ code: Code.ResourceExhausted });
  await until(async () => (await stateOf(root, "TEST_LATER")).messages === 0);
  expect(worker.logged.map(({ message }) => message)).toContain(
    "a request that cannot be run became a dead letter",
  );
});

test("a claim of a consumer that is gone keeps no call from running", async () => {
  const call = await (await nats.client()).do.submit({}, { callId: "again" });
  const root = await nats.connect();
  const { last_seq: request } = await stateOf(root, "TEST");
  const log = "test.v1.TestService.log.Do._._.again.entry";
  await storeRaw(
    root.nats,
    log,
    withLines("NATS/1.0\r\n\r\n", `Jetrpc-Entry: attempt 1 ${request} 5`),
  );
  await root.nats.request("$JS.API.CONSUMER.DELETE.TEST.Do");
  const worker = await nats.worker({ do: () => ({ text: "done" }) });
  expect((await call.result()).text).toBe("done");
  expect(worker.logged.map(({ message }) => message)).not.toContain("an attempt lost its claim");
});
