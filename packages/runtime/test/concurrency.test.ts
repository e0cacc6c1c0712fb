import { setTimeout as delay } from "node:timers/promises";
import { describe, expect, test } from "vitest";
import { useProcesses } from "./process.js";
import { collect, gate, type TestClient, until, useNats } from "./support.js";

const nats = useNats();
const start = useProcesses();

/** Longer than a pull may be silent, in ms. */
const silenceMs = 8_000;

async function startWorker(url = nats.server.url) {
  const worker = start("concurrency-worker.mjs", nats.environment("worker", url));
  await worker.says("ready");
  return worker;
}

const methods = ["do", "urgent", "two"] as const;

/** Six calls of each method: queued, of several priorities, and direct. */
function callAll(client: TestClient): Promise<unknown> {
  return Promise.all(
    methods.flatMap((method) => Array.from({ length: 6 }, () => client[method]({}))),
  );
}

describe("a worker of one call of each method at a time", () => {
  const one = methods.map((method) => `${method} runs 1`);

  test("keeps to it after its process stood still", async () => {
    const worker = await startWorker();
    for (let i = 1; i <= 3; i++) {
      worker.write("6500");
      await until(() => worker.heard.filter((line) => line === "stood still").length === i);
    }
    await callAll(await nats.client());
    expect(new Set(worker.heard)).toEqual(new Set(["ready", "stood still", ...one]));
  });

  test("keeps to it after the server stood still", async () => {
    await using server = await nats.start();
    const worker = await startWorker(server.url);
    const client = await nats.client({ url: server.url });
    server.suspend();
    await delay(silenceMs);
    const calls = callAll(client);
    server.resume();
    await calls;
    expect(new Set(worker.heard)).toEqual(new Set(["ready", ...one]));
  });

  test("keeps to it after its connection was lost", async () => {
    await using server = await nats.start();
    const worker = await startWorker(server.url);
    const client = await nats.client({ url: server.url });
    for (let i = 0; i < 3; i++) {
      await server.restart();
      await until(() => client.get({}).then(Boolean, () => false));
    }
    await callAll(client);
    expect(new Set(worker.heard)).toEqual(new Set(["ready", ...one]));
  });
});

test("a worker fills its slots although the pull before was filled bit by bit", async () => {
  const { opened, open } = gate();
  let running = 0;
  await nats.worker(
    {
      do: async ({ text }) => {
        running++;
        await (text === "long" ? opened : undefined);
        return {};
      },
    },
    { concurrency: 4 },
  );
  const client = await nats.client();
  await Promise.all([client.do({}), client.do({})]);
  // These are all that the first pull still waited for.
  const calls = [client.do({ text: "long" }), client.do({ text: "long" })];
  await until(() => running === 4);
  calls.push(client.do({ text: "long" }), client.do({ text: "long" }));
  await until(() => running === 6);
  open();
  await Promise.all(calls);
});

test("a request that comes when every slot is taken is given back and costs no attempt", async () => {
  await using server = await nats.start();
  const { url } = server;
  const { opened, open } = gate();
  const attempts: number[] = [];
  let running = 0;
  let most = 0;
  await nats.worker(
    {
      do: async (_, context) => {
        most = Math.max(most, ++running);
        attempts.push(context.attempt);
        await opened;
        running--;
        return {};
      },
    },
    { url, concurrency: 2 },
  );
  const client = await nats.client({ url });
  // A pull that nobody listens for any more still waits at a server that stands still.
  server.suspend();
  await delay(silenceMs);
  const calls = await Promise.all([
    ...Array.from({ length: 8 }, () => client.do.submit({})),
    delay(100).then(() => server.resume()),
  ]);
  await until(() => running === 2);
  // Long enough for what is given back to come again.
  await delay(1_000);
  open();
  for (const call of calls) {
    await call?.result();
  }
  expect(most).toBe(2);
  expect(attempts).toHaveLength(8);
});

test("a worker takes calls again within seconds when the consumer was deleted", async () => {
  const root = await nats.connect();
  let running = 0;
  let most = 0;
  await nats.worker(
    {
      do: async () => {
        most = Math.max(most, ++running);
        await delay(20);
        running--;
        return {};
      },
    },
    { concurrency: 2 },
  );
  const client = await nats.client();
  await client.do({});
  for (let i = 0; i < 3; i++) {
    const calls = Array.from({ length: 10 }, () => client.do({}));
    await root.nats.request("$JS.API.CONSUMER.DELETE.TEST.Do");
    await Promise.all(calls);
  }
  expect(most).toBeLessThanOrEqual(2);
});

test("what comes while a worker drains is given back to another one", async () => {
  const client = await nats.client();
  const ran: string[] = [];
  const run = (name: string) => ({
    do: async (_: unknown, { callId, attempt }: { callId: string; attempt: number }) => {
      ran.push(`${callId} ${name}`);
      await delay(5);
      return { index: attempt };
    },
  });
  const calls: Promise<unknown>[] = [];
  let last = await nats.worker(run("0"), { concurrency: 4 });
  for (let i = 1; i <= 5; i++) {
    for (let k = 0; k < 40; k++) {
      calls.push(client.do({}));
    }
    const next = await nats.worker(run(String(i)), { concurrency: 4 });
    await last.drain();
    last = next;
  }
  await Promise.all(calls);
  expect(new Set(ran.map((line) => line.split(" ")[0])).size).toBe(200);
  expect(ran).toHaveLength(200);
});

test("a log is read whole while its connection is lost again and again", async () => {
  await using server = await nats.start();
  const { url } = server;
  await nats.worker(
    {
      async *count({ count }) {
        for (let index = 0; index < count; index++) {
          yield { index };
        }
      },
    },
    { url },
  );
  const client = await nats.client({ url });
  const call = await client.count.submit({ count: 2_000 });
  await collect(call);
  const reading = collect(call);
  await server.restart();
  expect((await reading).map(({ index }) => index)).toEqual(
    Array.from({ length: 2_000 }, (_, index) => index),
  );
});
