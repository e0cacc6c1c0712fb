import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { Code, ConnectError, createClient, type Interceptor } from "@jetrpc/runtime";
import { headers as makeHeaders } from "@nats-io/nats-core";
import {
  context,
  createTraceState,
  propagation,
  SpanKind,
  SpanStatusCode,
  TraceFlags,
  trace,
} from "@opentelemetry/api";
import {
  CompositePropagator,
  W3CBaggagePropagator,
  W3CTraceContextPropagator,
} from "@opentelemetry/core";
import { expect, test } from "vitest";
import { TestService } from "../../runtime/test/gen/test/v1/test_pb.js";
import {
  collect,
  failureOf,
  gate,
  type TestClient,
  type TestImpl,
  until,
} from "../../runtime/test/support.js";
import { buckets } from "../src/conventions.js";
import type { TelemetryOptions } from "../src/index.js";
import { active, ownSpan, parentOf } from "./recorded.js";
import { useTracedService } from "./traced-service.js";

const { nats, recorded, serve, connect } = useTracedService();

async function serveAndConnect(impl: TestImpl, options?: TelemetryOptions) {
  const { worker, logged } = await serve(impl, options);
  return { worker, client: await connect(options), logged };
}

test("a direct call is a CLIENT and a SERVER span of one trace, and two metrics", async () => {
  const { client } = await serveAndConnect({
    get: async () => {
      await Promise.resolve();
      ownSpan(recorded, "work of the handler");
      return { text: "done" };
    },
  });
  await client.get({ text: "x" });

  const [work] = await recorded.spans(1, "work of the handler");
  const [one, two] = await recorded.spans(2, "test.v1.TestService/Get");
  const client1 = one?.kind === SpanKind.CLIENT ? one : two;
  const server1 = one?.kind === SpanKind.SERVER ? one : two;
  expect([client1?.kind, server1?.kind]).toEqual([SpanKind.CLIENT, SpanKind.SERVER]);
  const [, port] = nats.server.url.split("//")[1]?.split(":") ?? [];
  const attributes = {
    "rpc.system.name": "jetrpc",
    "rpc.method": "test.v1.TestService/Get",
    "rpc.status_code": "OK",
    "server.address": "127.0.0.1",
    "server.port": Number(port),
  };
  expect(client1?.attributes).toEqual(attributes);
  expect(server1?.attributes).toEqual(attributes);
  expect(client1?.parentSpanContext).toBeUndefined();
  expect(parentOf(server1)).toBe(client1?.spanContext().spanId);
  expect(parentOf(work)).toBe(server1?.spanContext().spanId);
  expect(client1?.instrumentationScope.name).toBe("@jetrpc/otel");

  const { "server.address": _, "server.port": __, ...counted } = attributes;
  for (const metric of ["rpc.client.call.duration", "rpc.server.call.duration"]) {
    expect(await recorded.points(metric)).toEqual([
      { attributes: counted, count: 1, value: expect.any(Number) },
    ]);
    expect(await recorded.bucketsOf(metric)).toEqual(buckets);
  }
});

test("a caller's span is the parent, and spans of the app around a call stay apart", async () => {
  const { client } = await serveAndConnect({ get: () => ({}) });
  const parent = recorded.tracers.getTracer("app").startSpan("app");
  await context.with(trace.setSpan(context.active(), parent), () => client.get({}));
  parent.end();
  const spans = await recorded.spans(2, "test.v1.TestService/Get");
  expect(new Set(spans.map((span) => span.spanContext().traceId))).toEqual(
    new Set([parent.spanContext().traceId]),
  );
  const clientSpan = spans.find(({ kind }) => kind === SpanKind.CLIENT);
  expect(parentOf(clientSpan)).toBe(parent.spanContext().spanId);
});

test("a connection that is made in a span does not put others' calls into it", async () => {
  const startup = recorded.tracers.getTracer("app").startSpan("startup");
  await context.with(trace.setSpan(context.active(), startup), () =>
    serveAndConnect({ get: () => ({}) }),
  );
  startup.end();
  await (await nats.client()).get({});
  const [server] = await recorded.spans(1, "test.v1.TestService/Get");
  expect(server?.kind).toBe(SpanKind.SERVER);
  expect(server?.parentSpanContext).toBeUndefined();
});

test("errors: every code is a failure of the client, few are faults of the server", async () => {
  const { client, logged } = await serveAndConnect({
    get: async ({ text }) => {
      if (text === "bug") {
        throw new TypeError("no such thing");
      }
      throw new ConnectError("gone", Code.NotFound);
    },
  });
  await failureOf(client.get({ text: "" }));
  const both = await recorded.spans(2, "test.v1.TestService/Get");
  const [clientSpan, serverSpan] = [SpanKind.CLIENT, SpanKind.SERVER].map((kind) =>
    both.find((span) => span.kind === kind),
  );
  expect(clientSpan?.status).toEqual({ code: SpanStatusCode.ERROR, message: "gone" });
  expect(clientSpan?.attributes).toMatchObject({
    "rpc.status_code": "NOT_FOUND",
    "error.type": "NOT_FOUND",
  });
  expect(serverSpan?.status.code).toBe(SpanStatusCode.UNSET);
  expect(serverSpan?.attributes["rpc.status_code"]).toBe("NOT_FOUND");
  expect(serverSpan?.attributes).not.toHaveProperty("error.type");

  await failureOf(client.get({ text: "bug" }));
  const all = await recorded.spans(4, "test.v1.TestService/Get");
  const bug = all.slice(2).find(({ kind }) => kind === SpanKind.SERVER);
  expect(bug?.status.code).toBe(SpanStatusCode.ERROR);
  expect(bug?.attributes["error.type"]).toBe("INTERNAL");
  // The log of the worker names the span.
  expect(logged).toMatchObject([
    { fields: { trace_id: bug?.spanContext().traceId, span_id: bug?.spanContext().spanId } },
  ]);
  expect(await recorded.points("rpc.server.call.duration")).toMatchObject([
    { attributes: { "rpc.status_code": "NOT_FOUND" } },
    { attributes: { "rpc.status_code": "INTERNAL", "error.type": "INTERNAL" } },
  ]);
});

test("without a worker there is a CLIENT span only, with the error", async () => {
  const client = await connect();
  await failureOf(client.get({}));
  const [span] = await recorded.spans(1);
  expect(span?.attributes["error.type"]).toBe("UNAVAILABLE");
});

test("a canceled call ends both spans, while its handler goes on", async () => {
  const { opened, open } = gate();
  const begun = gate();
  const { client } = await serveAndConnect({
    get: async () => {
      begun.open();
      await opened;
      ownSpan(recorded, "late");
      return {};
    },
  });
  const controller = new AbortController();
  const call = failureOf(client.get({}, { signal: controller.signal }));
  await begun.opened;
  controller.abort();
  await call;
  const spans = await recorded.spans(2, "test.v1.TestService/Get");
  for (const span of spans) {
    expect(span.attributes["rpc.status_code"]).toBe("CANCELLED");
    expect(span.status.code).toBe(SpanStatusCode.UNSET);
  }
  open();
  const [late] = await recorded.spans(1, "late");
  const server = spans.find(({ kind }) => kind === SpanKind.SERVER);
  expect(parentOf(late)).toBe(server?.spanContext().spanId);
});

test("each step of a streamed response runs in the span of its call", async () => {
  const { client } = await serveAndConnect(
    {
      async *down({ count }) {
        try {
          for (let index = 0; index < count; index++) {
            ownSpan(recorded, `step ${index}`);
            await Promise.resolve();
            yield { index };
          }
        } finally {
          ownSpan(recorded, "cleanup");
        }
      },
    },
    { messageEvents: true },
  );
  // Two at once: a context that leaks would name the other one's span.
  await Promise.all([collect(client.down({ count: 3 })), collect(client.down({ count: 3 }))]);
  const spans = await recorded.spans(4, "test.v1.TestService/Down");
  const servers = spans.filter(({ kind }) => kind === SpanKind.SERVER);
  for (const name of ["step 0", "step 1", "step 2", "cleanup"]) {
    const steps = await recorded.spans(2, name);
    expect(new Set(steps.map(parentOf))).toEqual(
      new Set(servers.map((server) => server.spanContext().spanId)),
    );
  }
  const events = servers[0]?.events.map(({ name, attributes }) => ({ name, ...attributes }));
  expect(events).toEqual(
    [1, 2, 3].map((number) => ({
      name: "jetrpc.message",
      "jetrpc.message.direction": "sent",
      "jetrpc.message.number": number,
    })),
  );
  const clientSpan = spans.find(({ kind }) => kind === SpanKind.CLIENT);
  expect(clientSpan?.events.map((event) => event.attributes?.["jetrpc.message.direction"])).toEqual(
    ["sent", "received", "received", "received"],
  );
});

test("a reader that leaves its loop ends both spans, and the handler cleans up in its own", async () => {
  const { client } = await serveAndConnect({
    async *down() {
      try {
        for (let index = 0; ; index++) {
          yield { index };
        }
      } finally {
        ownSpan(recorded, "cleanup");
      }
    },
  });
  for await (const _ of client.down({})) {
    break;
  }
  const spans = await recorded.spans(2, "test.v1.TestService/Down");
  const [cleanup] = await recorded.spans(1, "cleanup");
  const server = spans.find(({ kind }) => kind === SpanKind.SERVER);
  expect(parentOf(cleanup)).toBe(server?.spanContext().spanId);
  expect(spans.map((span) => span.attributes["rpc.status_code"])).toEqual([
    "CANCELLED",
    "CANCELLED",
  ]);
  expect(spans.every((span) => span.events.length === 0)).toBe(true);
});

test("a stream that nobody reads ends its span with its signal", async () => {
  const { opened, open } = gate();
  const { client } = await serveAndConnect({
    async *down() {
      yield { index: 1 };
      open();
    },
  });
  const controller = new AbortController();
  client.down({}, { signal: controller.signal });
  await opened;
  controller.abort();
  await recorded.spans(2, "test.v1.TestService/Down");
});

test("a stream that is not read on ends its span with its time, or with its connection", async () => {
  const { client } = await serveAndConnect({
    async *down(_, { signal }) {
      yield { index: 1 };
      await new Promise((resolve) => signal.addEventListener("abort", resolve));
    },
  });
  const late = client.down({}, { timeoutMs: 3_000 })[Symbol.asyncIterator]();
  await late.next();
  const [one, two] = await recorded.spans(2, "test.v1.TestService/Down");
  const span = one?.kind === SpanKind.CLIENT ? one : two;
  expect(span?.attributes["rpc.status_code"]).toBe("DEADLINE_EXCEEDED");

  const connection = await nats.connect({ as: "client", observer: recorded.observer() });
  const other = createClient<TestClient>(TestService, connection);
  const lost = other.down({})[Symbol.asyncIterator]();
  await lost.next();
  await connection.close();
  const spans = await recorded.spans(4, "test.v1.TestService/Down");
  const codes = spans.slice(2).map(({ kind, attributes }) => [kind, attributes["rpc.status_code"]]);
  expect(codes).toContainEqual([SpanKind.CLIENT, "UNAVAILABLE"]);
});

test("a stream that is forgotten with messages left ends its span", async () => {
  setFlagsFromString("--expose-gc");
  const collectGarbage: () => void = runInNewContext("gc");
  const { client } = await serveAndConnect({
    async *down() {
      yield { index: 1 };
      yield { index: 2 };
    },
  });
  const readOne = async () => void (await client.down({})[Symbol.asyncIterator]().next());
  await readOne();
  await until(async () => {
    collectGarbage();
    return recorded.finished("test.v1.TestService/Down").length === 2;
  });
  const kept = client.down({})[Symbol.asyncIterator]();
  await kept.next();
  collectGarbage();
  await new Promise((resolve) => setImmediate(resolve));
  expect(recorded.finished("test.v1.TestService/Down")).toHaveLength(3);
  await kept.return?.();
});

test("a request that is refused before its handler has a SERVER span with the error", async () => {
  await serveAndConnect({ get: () => ({}) });
  const root = await nats.connect();
  const headers = makeHeaders();
  headers.set("Jetrpc-Timeout-Ms", "soon");
  await root.nats.request("test.v1.TestService.rpc.Get", "", { timeout: 60_000, headers });
  await root.nats.request("test.v1.TestService.rpc.Get", new Uint8Array([255]));
  const spans = await recorded.spans(2, "test.v1.TestService/Get");
  for (const { kind, attributes } of spans) {
    expect([kind, attributes["rpc.status_code"]]).toEqual([SpanKind.SERVER, "INVALID_ARGUMENT"]);
  }
});

test("streams of requests, and of both, have their steps in the span, too", async () => {
  const seen: (string | undefined)[] = [];
  const { client } = await serveAndConnect({
    async up(requests) {
      for await (const _ of requests) {
        seen.push(active()?.spanId);
      }
      return {};
    },
    async *chat(requests) {
      for await (const { text } of requests) {
        seen.push(active()?.spanId);
        yield { text };
        seen.push(active()?.spanId);
      }
    },
  });
  async function* two() {
    yield { text: "a" };
    yield { text: "b" };
  }
  await client.up(two());
  await collect(client.chat(two()));
  const spanOf = async (name: string) =>
    (await recorded.spans(2, name)).find(({ kind }) => kind === SpanKind.SERVER)?.spanContext()
      .spanId;
  const up = await spanOf("test.v1.TestService/Up");
  const chat = await spanOf("test.v1.TestService/Chat");
  expect(seen).toEqual([up, up, chat, chat, chat, chat]);
});

test("a trace that the caller gives as a header goes on, whatever is active", async () => {
  const { client } = await serveAndConnect({ get: () => ({}), do: () => ({}) });
  const traceId = "0af7651916cd43dd8448eb211c80319c";
  const headers = { traceparent: `00-${traceId}-b7ad6b7169203331-01`, tracestate: "vendor=theirs" };
  const other = recorded.tracers.getTracer("app").startSpan("other");
  await context.with(trace.setSpan(context.active(), other), async () => {
    await client.get({}, { headers });
    await client.do({}, { headers });
  });
  other.end();
  const spans = (await recorded.spans(6)).filter(({ name }) => name !== "other");
  const chain = (name: string, kind: SpanKind) =>
    spans.find((span) => span.name === name && span.kind === kind);
  const [get, handled] = [SpanKind.CLIENT, SpanKind.SERVER].map((kind) =>
    chain("test.v1.TestService/Get", kind),
  );
  expect(parentOf(get)).toBe("b7ad6b7169203331");
  expect(parentOf(handled)).toBe(get?.spanContext().spanId);
  const called = chain("test.v1.TestService/Do", SpanKind.CLIENT);
  const submit = chain("submit test.v1.TestService.queue.Do", SpanKind.PRODUCER);
  const attempt = chain("process test.v1.TestService.queue.Do", SpanKind.CONSUMER);
  expect([called, submit, attempt].map(parentOf)).toEqual([
    "b7ad6b7169203331",
    called?.spanContext().spanId,
    submit?.spanContext().spanId,
  ]);
  for (const span of spans) {
    expect(span.spanContext().traceId).toBe(traceId);
    expect(span.spanContext().traceState?.serialize()).toBe("vendor=theirs");
  }
});

test("a caller's trace context is never mixed with ours, and baggage stands by itself", async () => {
  const seen: (string | null)[][] = [];
  const names = ["traceparent", "tracestate", "baggage"];
  const { client: _ } = await serveAndConnect({
    get: (_, { requestHeader }) => {
      seen.push(names.map((name) => requestHeader.get(name)));
      return {};
    },
  });
  const propagator = new CompositePropagator({
    propagators: [new W3CTraceContextPropagator(), new W3CBaggagePropagator()],
  });
  const client = await connect({ propagator });
  const own = trace.wrapSpanContext({
    traceId: "a".repeat(32),
    spanId: "b".repeat(16),
    traceFlags: TraceFlags.SAMPLED,
    traceState: createTraceState("vendor=ours"),
  });
  const baggage = propagation.createBaggage({ tenant: { value: "ours" } });
  const within = propagation.setBaggage(trace.setSpan(context.active(), own), baggage);
  const call = (headers: Record<string, string>) =>
    context.with(within, () => client.get({}, { headers }));
  const theirs = `00-${"1".repeat(32)}-${"2".repeat(16)}-01`;
  await call({ traceparent: theirs });
  await call({ tracestate: "vendor=theirs" });
  await call({ baggage: "tenant=theirs" });
  const ours = expect.stringMatching(/^00-a{32}-[\da-f]{16}-01$/);
  const continued = expect.stringMatching(/^00-1{32}-(?!2{16})[\da-f]{16}-01$/);
  expect(seen).toEqual([
    [continued, null, "tenant=ours"],
    [null, "vendor=theirs", "tenant=ours"],
    [ours, "vendor=ours", "tenant=theirs"],
  ]);
  await recorded.spans(6, "test.v1.TestService/Get");
});

test("interceptors of clients run in the span of their call, and their headers go along", async () => {
  let inside: string | undefined;
  const interceptor: Interceptor = (next) => (request) => {
    inside = active()?.spanId;
    request.header.set("x-tenant", "acme");
    return next(request);
  };
  let tenant: string | null = null;
  await serveAndConnect({
    get: (_, { requestHeader }) => {
      tenant = requestHeader.get("x-tenant");
      return {};
    },
  });
  const client = await nats.client({
    observer: recorded.observer(),
    interceptors: [interceptor],
  });
  await client.get({});
  const spans = await recorded.spans(2, "test.v1.TestService/Get");
  const clientSpan = spans.find(({ kind }) => kind === SpanKind.CLIENT);
  expect(inside).toBe(clientSpan?.spanContext().spanId);
  expect(tenant).toBe("acme");
});

test("metadata that fills its limit travels without what telemetry would add", async () => {
  const { client } = await serveAndConnect({ get: () => ({}), do: () => ({}) });
  const fill = (bytes: number) => ({ "x-fill": "a".repeat(bytes - "x-fill".length - 4) });
  const limit = 32 * 1024;
  for (const method of [client.get, client.do]) {
    await method({}, { headers: fill(limit) });
  }
  await client.get({}, { headers: fill(limit - 100) });
  const spans = await recorded.spans(4, "test.v1.TestService/Get");
  const traces = spans.map((span) => span.spanContext().traceId);
  expect(new Set(traces.slice(0, 2)).size).toBe(2);
  expect(new Set(traces.slice(2)).size).toBe(1);
  const baggage = {
    inject: (_: unknown, carrier: unknown) =>
      Object.assign(carrier as object, { baggage: "b".repeat(40_000) }),
  };
  const observer = recorded.observer({
    propagator: { ...baggage, extract: (given) => given, fields: () => [] },
  });
  await (await nats.client({ observer })).get({});
});

test("spans end of calls that fail before anything is sent", async () => {
  const throwsAtOnce: Interceptor = () => () => {
    throw new ConnectError("not so", Code.NotFound);
  };
  const { client } = await serveAndConnect({ get: () => ({}) });
  const input = {
    [Symbol.asyncIterator]: () => {
      throw new ConnectError("no messages", Code.NotFound);
    },
  };
  await failureOf(collect(client.chat(input)));
  const narrow = await nats.client({ observer: recorded.observer(), writeMaxBytes: 1 });
  const refused = await failureOf(narrow.get({ text: "too long" }));
  expect(refused.code).toBe(Code.ResourceExhausted);
  const own = await nats.client({ observer: recorded.observer(), interceptors: [throwsAtOnce] });
  for (const call of [own.get({}), own.do({}), collect(own.down({}))]) {
    expect(await failureOf(call)).toMatchObject({ code: Code.NotFound });
  }
  const spans = await recorded.spans(5);
  const codes = spans.map(({ attributes }) => attributes["rpc.status_code"]).sort();
  expect(codes).toEqual([...Array(4).fill("NOT_FOUND"), "RESOURCE_EXHAUSTED"]);
});

test("a telemetry that throws fails no call", async () => {
  const broken = () => {
    throw new Error("broken");
  };
  const { client } = await serveAndConnect(
    { get: () => ({ text: "fine" }) },
    {
      tracerProvider: { getTracer: () => ({ startSpan: broken, startActiveSpan: broken }) },
    },
  );
  expect((await client.get({})).text).toBe("fine");
});

test("slots that are used and free, and reconnects", async () => {
  const { opened, open } = gate();
  let running = 0;
  const { client, worker } = await serveAndConnect({
    two: async () => {
      running++;
      await opened;
      return {};
    },
    do: () => ({}),
  });
  const call = client.two({});
  await until(() => running === 1);
  const slots = async () =>
    Object.fromEntries(
      (await recorded.points("jetrpc.worker.slots")).map(({ attributes, value }) => [
        `${attributes["rpc.method"]} ${attributes["state"]}`,
        value,
      ]),
    );
  expect(await slots()).toEqual({
    "test.v1.TestService/Two used": 1,
    "test.v1.TestService/Two free": 1,
    "test.v1.TestService/Do used": 0,
    "test.v1.TestService/Do free": 10,
  });
  open();
  await call;
  await worker.drain();
  await until(async () => Object.values(await slots()).every((count) => count === 0));

  await nats.server.restart();
  await until(
    async () =>
      (await recorded.points("jetrpc.connection.reconnects")).reduce(
        (sum, { value }) => sum + value,
        0,
      ) >= 2,
  );
});
