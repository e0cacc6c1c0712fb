import { Code, ConnectError, startWorker } from "@jetrpc/runtime";
import { SpanKind, SpanStatusCode, TraceFlags } from "@opentelemetry/api";
import {
  AlwaysOffSampler,
  ParentBasedSampler,
  type ReadableSpan,
} from "@opentelemetry/sdk-trace-base";
import pino from "pino";
import { expect, test } from "vitest";
import { TestService } from "../../runtime/test/gen/test/v1/test_pb.js";
import { failureOf, gate, submittedInTime, until } from "../../runtime/test/support.js";
import { buckets, longBuckets } from "../src/conventions.js";
import { logFields, observeQueues, pinoLogger } from "../src/index.js";
import { ids, ownSpan, parentOf } from "./recorded.js";
import { useTracedService } from "./traced-service.js";

const { nats, recorded, serve, connect } = useTracedService();

const doQueue = "test.v1.TestService.queue.Do";
const rpcMethod = "test.v1.TestService/Do";

/** The links of a span: what they are, and to which span. */
function linksOf(span: ReadableSpan | undefined) {
  return span?.links.map(({ attributes, context: to }) => [attributes?.["jetrpc.link"], to.spanId]);
}

const idOf = (span: ReadableSpan | undefined) => span?.spanContext().spanId;

/** How often calls have ended, by method and outcome, once so many have: a caller may hear of it before. */
async function ended(count: number): Promise<Record<string, number>> {
  const read = () => recorded.points("jetrpc.calls.ended");
  await until(async () => (await read()).reduce((sum, { value }) => sum + value, 0) >= count);
  return Object.fromEntries(
    (await read()).map(({ attributes, value }) => [
      `${attributes["rpc.method"]} ${attributes["outcome"]}`,
      value,
    ]),
  );
}

test("a durable call that is waited for: CLIENT, in it submit, below that process", async () => {
  await serve({
    do: () => {
      ownSpan(recorded, "work of the handler");
      return { text: "done" };
    },
  });
  ids.push("acme");
  await (await connect({ owner: "acme" })).do({ text: "x" });

  const [submit] = await recorded.spans(1, `submit ${doQueue}`);
  const [process] = await recorded.spans(1, `process ${doQueue}`);
  const [client] = await recorded.spans(1, rpcMethod);
  const [work] = await recorded.spans(1, "work of the handler");
  expect([client?.kind, submit?.kind, process?.kind]).toEqual([
    SpanKind.CLIENT,
    SpanKind.PRODUCER,
    SpanKind.CONSUMER,
  ]);
  expect(parentOf(submit)).toBe(idOf(client));
  expect(parentOf(process)).toBe(idOf(submit));
  expect(parentOf(work)).toBe(idOf(process));
  expect(linksOf(process)).toEqual([["submit", idOf(submit)]]);

  const [, port] = nats.server.url.split("//")[1]?.split(":") ?? [];
  const server = { "server.address": "127.0.0.1", "server.port": Number(port) };
  const messaging = {
    "messaging.system": "nats",
    "messaging.system.name": "nats",
    "messaging.destination.name": doQueue,
    "rpc.method": rpcMethod,
    ...server,
  };
  const callId = submit?.attributes["messaging.message.id"] as string;
  ids.push(callId);
  expect(callId).toMatch(/^\w{22}\.\d+$/);
  const sent = { "messaging.operation.name": "submit", "messaging.operation.type": "send" };
  expect(submit?.attributes).toEqual({ ...messaging, ...sent, "messaging.message.id": callId });
  const processed = {
    "messaging.operation.name": "process",
    "messaging.operation.type": "process",
  };
  expect(process?.attributes).toEqual({
    ...messaging,
    ...processed,
    "messaging.message.id": callId,
    "jetrpc.attempt": 1,
    "jetrpc.attempt.outcome": "succeeded",
  });
  const called = {
    "rpc.system.name": "jetrpc",
    "rpc.method": rpcMethod,
    "rpc.status_code": "OK",
  };
  expect(client?.attributes).toEqual({ ...called, ...server });

  expect(await ended(1)).toEqual({ [`${rpcMethod} succeeded`]: 1 });
  const of = { "rpc.method": rpcMethod };
  const call = { ...of, outcome: "succeeded" };
  for (const [metric, attributes, bounds] of [
    ["rpc.client.call.duration", called, buckets],
    ["messaging.client.operation.duration", { ...messaging, ...sent }, buckets],
    ["messaging.process.duration", { ...messaging, ...processed }, longBuckets],
    ["jetrpc.call.queue.duration", of, longBuckets],
    ["jetrpc.call.duration", call, longBuckets],
  ] as const) {
    expect(await recorded.points(metric), metric).toEqual([
      { attributes, count: 1, value: expect.any(Number) },
    ]);
    expect(await recorded.bucketsOf(metric), metric).toEqual(bounds);
  }
});

test("submit() is a span of its own, without a CLIENT span", async () => {
  await serve({ do: () => ({}) });
  const client = await connect();
  ids.push("invoice-42");
  const call = await client.do.submit({}, { callId: "invoice-42" });
  await call.result();
  const spans = await recorded.spans(2);
  expect(spans.map(({ kind }) => kind).sort()).toEqual([SpanKind.PRODUCER, SpanKind.CONSUMER]);
  expect(spans.map((span) => span.attributes["messaging.message.id"])).toEqual([
    "invoice-42",
    "invoice-42",
  ]);
});

test("a submission that is refused is an error", async () => {
  await serve({ do: () => ({}) });
  const client = await connect();
  await client.do.submit({ text: "a" }, { callId: "one" });
  await failureOf(client.do.submit({ text: "b" }, { callId: "one" }));
  const [, second] = await recorded.spans(2, `submit ${doQueue}`);
  expect(second?.status.code).toBe(SpanStatusCode.ERROR);
  expect(second?.attributes["error.type"]).toBe("ALREADY_EXISTS");
});

test("a call that is canceled in its queue has no attempt, and one end", async () => {
  const client = await connect();
  const call = await client.do.submit({}, { callId: "queued" });
  expect(await call.cancel()).toBe(true);
  expect(await call.cancel()).toBe(false);
  await recorded.spans(1);
  expect(await ended(1)).toEqual({ [`${rpcMethod} cancelled`]: 1 });
  expect(await recorded.points("jetrpc.call.duration")).toMatchObject([
    { attributes: { "rpc.method": rpcMethod, outcome: "cancelled" }, count: 1 },
  ]);
});

test("a call that is canceled while it runs: its attempt is no error", async () => {
  const { opened, open } = gate();
  await serve({
    do: async (_, { signal }) => {
      open();
      await new Promise((_, reject) =>
        signal.addEventListener("abort", () => reject(signal.reason)),
      );
      return {};
    },
  });
  const client = await connect();
  const call = await client.do.submit({});
  await opened;
  await call.cancel();
  const [attempt] = await recorded.spans(1, `process ${doQueue}`);
  expect(attempt?.attributes["jetrpc.attempt.outcome"]).toBe("cancelled");
  expect(attempt?.status.code).toBe(SpanStatusCode.UNSET);
  expect(await ended(1)).toEqual({ [`${rpcMethod} cancelled`]: 1 });
});

test("a call whose time is over", async () => {
  await serve({ do: () => new Promise(() => undefined) });
  const client = await connect();
  const call = await client.do.submit({}, { timeoutMs: 3_000 });
  await failureOf(call.result());
  const [attempt] = await recorded.spans(1, `process ${doQueue}`);
  expect(attempt?.attributes["jetrpc.attempt.outcome"]).toBe("expired");
  // Whoever waits for it may end it before the worker does.
  expect(["DEADLINE_EXCEEDED", "ABORTED"]).toContain(attempt?.attributes["error.type"]);
  expect(await ended(1)).toEqual({ [`${rpcMethod} expired`]: 1 });
});

test("attempts that do not reach their handler have a span with the error", async () => {
  const root = await nats.connect();
  const client = await connect();
  // The first one makes the streams, in its own time.
  await client.do.submit({ text: "x".repeat(2_000_000) }, { callId: "lost" });
  await submittedInTime(() => client.do.submit({}, { callId: "late", timeoutMs: 1_000 }));
  await root.nats.request(`${doQueue}._._.garbage`, new Uint8Array([255]));
  await root.nats.request("$JS.API.STREAM.PURGE.OBJ_TEST_PAYLOAD", "{}");
  ids.push("garbage", "late", "lost");
  await new Promise((resolve) => setTimeout(resolve, 1_100));
  await serve({
    do: () => {
      throw new Error("the handler is not reached");
    },
  });
  const attempts = await recorded.spans(3, `process ${doQueue}`);
  const outcomes = attempts.map(({ attributes, status }) => [
    attributes["messaging.message.id"],
    attributes["jetrpc.attempt.outcome"],
    attributes["error.type"],
    status.code,
  ]);
  expect(outcomes.sort()).toEqual([
    ["garbage", "failed", "INVALID_ARGUMENT", SpanStatusCode.ERROR],
    ["late", "expired", "DEADLINE_EXCEEDED", SpanStatusCode.ERROR],
    ["lost", "failed", "DATA_LOSS", SpanStatusCode.ERROR],
  ]);
  expect(await ended(3)).toEqual({ [`${rpcMethod} failed`]: 2, [`${rpcMethod} expired`]: 1 });
});

test("a durable stream that is not read on ends its span with its time", async () => {
  await serve({
    async *count(_, { signal }) {
      yield { index: 0 };
      await new Promise((resolve) => signal.addEventListener("abort", resolve));
    },
  });
  const client = await connect();
  const late = client.count({}, { timeoutMs: 3_000 })[Symbol.asyncIterator]();
  await late.next();
  const [span] = await recorded.spans(1, "test.v1.TestService/Count");
  expect(span?.attributes["rpc.status_code"]).toBe("DEADLINE_EXCEEDED");
});

test("a worker that stops gives its call back: that is no error", async () => {
  const { opened, open } = gate();
  const { worker } = await serve({
    do: async () => {
      open();
      return new Promise(() => undefined);
    },
  });
  const client = await connect();
  const call = await client.do.submit({});
  await opened;
  await worker.drain();
  await serve({ do: () => ({}) });
  await call.result();
  const [first, second] = await recorded.spans(2, `process ${doQueue}`);
  expect(first?.attributes["jetrpc.attempt.outcome"]).toBe("release");
  expect(first?.status.code).toBe(SpanStatusCode.UNSET);
  expect(linksOf(second)?.[1]).toEqual(["attempt", idOf(first)]);
});

test("with links only, attempts have traces of their own", async () => {
  await serve({ do: () => ({}) }, { attempts: "link" });
  await (await connect()).do({});
  const [submit] = await recorded.spans(1, `submit ${doQueue}`);
  const [attempt] = await recorded.spans(1, `process ${doQueue}`);
  expect(attempt?.parentSpanContext).toBeUndefined();
  expect(attempt?.spanContext().traceId).not.toBe(submit?.spanContext().traceId);
  expect(linksOf(attempt)).toEqual([["submit", idOf(submit)]]);
});

test("priorities are queues", async () => {
  await serve({ urgent: () => ({}) });
  const call = await (await connect()).urgent.submit({}, { priority: "high" });
  await call.result();
  await recorded.spans(1, "submit test.v1.TestService.queue-high.Urgent");
  await recorded.spans(1, "process test.v1.TestService.queue-high.Urgent");
});

test("how many calls wait and run", async () => {
  const { opened, open } = gate();
  const connection = await nats.connect({ as: "observer" });
  await serve({
    global: async () => {
      await opened;
      return {};
    },
  });
  const client = await connect();
  const calls = await Promise.all([client.global.submit({}), client.global.submit({})]);
  const stop = observeQueues(connection, [TestService], { meterProvider: recorded.meters });
  const counts = async () =>
    Object.fromEntries(
      (await recorded.points("jetrpc.queue.calls"))
        .filter(({ attributes }) => attributes["rpc.method"] === "test.v1.TestService/Global")
        .map(({ attributes, value }) => [attributes["state"], value]),
    );
  await until(async () => (await counts())["running"] === 1);
  expect(await counts()).toEqual({ queued: 1, running: 1 });
  open();
  await Promise.all(calls.map((call) => call.result()));
  stop();
});

test("logs of workers by pino have trace, span and call", async () => {
  const lines: Record<string, unknown>[] = [];
  const logger = pino(
    { mixin: logFields, level: "warn" },
    { write: (line: string) => void lines.push(JSON.parse(line)) },
  );
  const connection = await nats.connect({ as: "worker", observer: recorded.observer() });
  const cause = new Error("the disk is full");
  const worker = await startWorker(
    TestService,
    {
      do: ({ text }) => {
        logger.warn({ photo: 'a "quoted" name' }, "of the handler");
        logger.info("not wanted at this level");
        if (text === "odd") {
          // Nothing of what a handler throws may cost the line, or the call.
          throw Object.assign(new TypeError("odd"), { self: logger, big: 1n, link: worker });
        }
        throw new ConnectError("no", Code.NotFound, { "x-why": "gone" }, undefined, cause);
      },
    },
    connection,
    // A child has fields of its own.
    { logger: pinoLogger(logger.child({ worker: 7 })) },
  );
  const client = await connect();
  await failureOf((await client.do.submit({}, { callId: "logged" })).result());
  const [attempt] = await recorded.spans(1, `process ${doQueue}`);
  const trace = {
    trace_id: attempt?.spanContext().traceId,
    span_id: idOf(attempt),
    trace_flags: "01",
    call_id: "logged",
  };
  await until(() => lines.length >= 2);
  expect(lines).toMatchObject([
    { level: 40, msg: "of the handler", photo: 'a "quoted" name', ...trace },
    {
      level: 40,
      msg: "a call failed",
      worker: 7,
      attempt: 1,
      method: "rpc test.v1.TestService.Do",
      err: {
        type: "ConnectError",
        message: expect.stringMatching(/^\[not_found\] no/),
        code: Code.NotFound,
        stack: expect.stringContaining("the disk is full"),
      },
      ...trace,
    },
  ]);
  await failureOf(client.do({ text: "odd" }));
  const odd = () => lines.filter(({ err }) => (err as Error | undefined)?.message === "odd");
  await until(() => odd().length === 3);
  expect(odd().map(({ attempt }) => attempt)).toEqual([1, 2, 3]);
  await worker.drain();
});

test("each submission of submitAll() is a span, whose calls are apart", async () => {
  await serve({ do: () => ({}) });
  const client = await connect();
  for await (const { call } of client.do.submitAll([{ text: "a" }, { text: "b" }, { text: "c" }])) {
    await call?.result();
  }
  const submits = await recorded.spans(3, `submit ${doQueue}`);
  const attempts = await recorded.spans(3, `process ${doQueue}`);
  expect(attempts.map(parentOf).sort()).toEqual(submits.map(idOf).sort());
});

test("metrics are told while the server does not answer, those of its queues as they were", async () => {
  const server = await nats.start();
  const own = { url: server.url, observer: recorded.observer() };
  const client = await nats.client(own);
  const observing = await nats.connect({ as: "observer", url: server.url });
  const stop = observeQueues(observing, [TestService], { meterProvider: recorded.meters });
  await client.do.submit({});
  const queued = async () =>
    (await recorded.points("jetrpc.queue.calls")).filter(({ value }) => value > 0);
  await until(async () => (await queued()).length === 1);
  server.suspend();
  try {
    await failureOf(client.get({}, { timeoutMs: 100 }));
    // The SDK repeats a gauge that is not told anew. A queue that cannot be asked is not empty.
    expect(await queued()).toMatchObject([{ attributes: { state: "queued" }, value: 1 }]);
    expect(await recorded.points("rpc.client.call.duration")).toHaveLength(1);
  } finally {
    server.resume();
  }
  stop();
  await observing.close();
  await server.stop();
});

test("a call that is not sampled has no spans, and all metrics", async () => {
  const { BasicTracerProvider } = await import("@opentelemetry/sdk-trace-base");
  const off = new BasicTracerProvider({
    sampler: new ParentBasedSampler({ root: new AlwaysOffSampler() }),
  });
  let flags: number | undefined;
  await serve({
    do: (_, { requestHeader, attempt }) => {
      flags = Number(requestHeader.get("traceparent")?.slice(-2));
      if (attempt === 1) {
        throw new ConnectError("busy", Code.Unavailable);
      }
      return {};
    },
  });
  const client = await connect({ tracerProvider: off });
  await client.do({});
  await recorded.spans(0);
  expect(flags).toBe(TraceFlags.NONE);
  expect(await ended(1)).toEqual({ [`${rpcMethod} succeeded`]: 1 });
  expect(await recorded.points("messaging.process.duration")).toHaveLength(2);
});

test("a worker without telemetry hands the trace on to the next attempt's worker", async () => {
  const connection = await nats.connect({ as: "worker" });
  const plain = await startWorker(
    TestService,
    {
      do: () => {
        throw new ConnectError("busy", Code.Unavailable);
      },
    },
    connection,
    { drainTimeoutMs: 1_000, logger: () => open() },
  );
  const { opened, open } = gate();
  const client = await connect();
  const call = await client.do.submit({});
  await opened;
  await plain.drain();
  await serve({ do: () => ({}) });
  await call.result();
  const [submit] = await recorded.spans(1, `submit ${doQueue}`);
  const [attempt] = await recorded.spans(1, `process ${doQueue}`);
  expect(attempt?.attributes["jetrpc.attempt"]).toBeGreaterThan(1);
  expect(linksOf(attempt)).toEqual([["submit", idOf(submit)]]);
});
