import { setTimeout as delay } from "node:timers/promises";
import { create, toBinary } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@jetrpc/runtime";
import { createOperator } from "@jetrpc/runtime/operator";
import { startNats } from "@jetrpc/testing";
import { headers } from "@nats-io/transport-node";
import { expect, onTestFinished, test } from "vitest";
import { ResponseSchema, TestService } from "./gen/test/v1/test_pb.js";
import { collect, gate, until, useNats } from "./support.js";
import { Stops, WireTap } from "./wire-tap.js";

const nats = useNats();

test("an attempt that begins while the one before it still writes stores no message twice", async () => {
  const admin = (await nats.connect()).nats;
  const client = await nats.client();
  const callIds = Array.from({ length: 4 }, (_, i) => `raced-${i}`);
  // The streams are made by whoever submits first.
  const calls = await Promise.all(
    callIds.map((callId) => client.count.submit({ count: 500 }, { callId })),
  );
  const stale = callIds.map((callId) => {
    const subject = `test.v1.TestService.log.Count._._.${callId}.entry`;
    let index = 0;
    let last = 0;
    return async () => {
      const entry = headers();
      entry.set("Jetrpc-Entry", "message 1");
      entry.set("Nats-Expected-Last-Subject-Sequence", `${last}`);
      const payload = toBinary(ResponseSchema, create(ResponseSchema, { index: index++ }));
      const { seq } = (
        await admin.request(subject, payload, { headers: entry, timeout: 60_000 })
      ).json() as {
        seq?: number;
      };
      last = seq || last;
      return Boolean(seq) && index < 400;
    };
  });
  await Promise.all(stale.map((write) => write()));
  // They go on until they are refused.
  const writing = stale.map(async (write) => {
    while (await write()) {
      await delay(Math.random() * 4);
    }
  });
  await nats.worker({
    async *count(request) {
      for (let i = 0; i < request.count; i++) {
        yield { index: i };
      }
    },
  });
  const expected = Array.from({ length: 500 }, (_, i) => i);
  for (const call of calls) {
    expect((await collect(call)).map((message) => message.index)).toEqual(expected);
  }
  await Promise.all(writing);
});

test("what a killed server brings back of calls that have ended leaves the queue again", async () => {
  await using server = await startNats();
  const { url } = server;
  const client = await nats.client({ url });
  const admin = (await nats.connect({ url })).nats;
  // What stays keeps the server from giving up the file of those that go.
  await client.limited.submit({});
  const queued = async () =>
    admin
      .request("$JS.API.STREAM.INFO.TEST")
      .then((reply) => (reply.json() as { state: { messages: number } }).state.messages)
      .catch(() => -1);
  let ran = 0;
  let isPutIn = false;
  // A server that had the time to write what it removed brings nothing back.
  for (let round = 0; round < 10 && !isPutIn; round++) {
    const calls = await Promise.all(Array.from({ length: 20 }, () => client.do.submit({})));
    await Promise.all(calls.map((call) => call.cancel()));
    const worker = await nats.worker({ do: () => ({ index: ran++ }) }, { url });
    await until(async () => (await queued()) === 1);
    await server.kill();
    await server.restart();
    await until(async () => (await queued()) === 1);
    for (const call of calls) {
      expect(await call.status()).toMatchObject({ state: "cancelled" });
    }
    await worker.drain();
    isPutIn = worker.logged.some(
      ({ message }) => message === "a forgotten request was put in again",
    );
  }
  expect(ran).toBe(0);
  expect(isPutIn).toBe(true);
});

test("a call that fails while it is canceled has its dead letter although its worker is lost", async () => {
  const root = await nats.connect();
  const stops = new Stops();
  const tap = await WireTap.start(nats.server.port, stops);
  onTestFinished(() => tap.close());
  const client = await nats.client({ url: tap.url });
  const call = await client.do.submit({ text: "kept" }, { callId: "torn" });
  const withdrawing = stops.add("torn", "before", ({ headers }) =>
    headers.includes("Jetrpc-Withdrawn"),
  );
  const isCanceled = call.cancel();
  await withdrawing;
  // What a worker does whose next step is the dead letter.
  const entry = headers();
  entry.set("Jetrpc-Entry", "end 1 failed");
  entry.set("Nats-Expected-Last-Subject-Sequence", "0");
  const status = Buffer.from("08031203626164", "hex");
  await root.nats.request("test.v1.TestService.log.Do._._.torn.entry", status, {
    headers: entry,
    timeout: 60_000,
  });
  stops.release();
  expect(await isCanceled).toBe(false);

  await nats.worker({ do: () => ({}) });
  const operator = createOperator(root, TestService);
  const letters = () => collect(operator.deadLetters());
  await until(async () => (await letters()).length > 0);
  const [letter] = await letters();
  expect(letter).toMatchObject({ callId: "torn", attempts: 1, error: { rawMessage: "bad" } });
  expect(await letter?.request()).toMatchObject({ text: "kept" });
});

test("a stopping worker adds nothing to the log of a call that has ended", async () => {
  const root = await nats.connect();
  const stops = new Stops();
  const tap = await WireTap.start(nats.server.port, stops);
  onTestFinished(() => tap.close());
  const worker = await nats.worker({ do: () => ({}) }, { url: tap.url });
  const delivered = stops.add(
    "over",
    "before",
    ({ isSent, subject }) => !isSent && subject === "test.v1.TestService.queue.Do._._.over",
  );
  const client = await nats.client();
  const call = await client.do.submit({}, { callId: "over" });
  await delivered;
  expect(await call.cancel()).toBe(true);
  const drained = worker.drain();
  stops.release();
  await drained;
  const reply = await root.nats.request("$JS.API.STREAM.INFO.TEST_LOG");
  expect((reply.json() as { state: object }).state).toMatchObject({ messages: 1 });
});

test("a worker whose connection is closed stops its handlers, and its calls go to another worker once", async () => {
  const begun = gate();
  const reasons: unknown[] = [];
  const worker = await nats.worker({
    do: (_, { signal }) => {
      begun.open();
      return new Promise((_, reject) => {
        signal.addEventListener("abort", () => {
          reasons.push(signal.reason);
          // Nothing of that is stored: it is not why the call ends.
          reject(new ConnectError("bad", Code.InvalidArgument));
        });
      });
    },
  });
  const client = await nats.client();
  const call = await client.do.submit({}, { callId: "moved" });
  await begun.opened;
  await worker.connection.close();
  await until(() => reasons.length > 0);
  expect(reasons).toMatchObject([{ code: Code.Unavailable }]);
  const attempts: (number | undefined)[] = [];
  await nats.worker({
    do: (_, { attempt }) => {
      attempts.push(attempt);
      return { text: "done" };
    },
  });
  expect((await call.result()).text).toBe("done");
  expect(attempts).toEqual([2]);
  const operator = createOperator(await nats.connect(), TestService);
  expect(await collect(operator.deadLetters())).toEqual([]);
  const root = (await nats.connect()).nats;
  const queue = async () =>
    ((await root.request("$JS.API.STREAM.INFO.TEST")).json() as { state: { messages: number } })
      .state.messages;
  await until(async () => (await queue()) === 0);
  expect(attempts).toEqual([2]);
});

test("a worker that is connected again goes on with what runs", async () => {
  await using server = await nats.start();
  const { url } = server;
  const begun = gate();
  const ends = gate();
  const signals: AbortSignal[] = [];
  let running = 0;
  const step = async (signal: AbortSignal) => {
    signals.push(signal);
    if (++running === 2) {
      begun.open();
    }
    await ends.opened;
    return { text: "done" };
  };
  const worker = await nats.worker(
    { do: (_, { signal }) => step(signal), get: (_, { signal }) => step(signal) },
    { url },
  );
  const client = await nats.client({ url });
  const call = await client.do.submit({});
  client.get({}, { timeoutMs: 240_000 }).catch(() => undefined);
  await begun.opened;
  await server.restart();
  await until(() => worker.logged.some(({ message }) => message.endsWith("there again")));
  expect(signals.map(({ aborted }) => aborted)).toEqual([false, false]);
  ends.open();
  expect((await call.result()).text).toBe("done");
});
