// Faults that instrumentations of other libraries have had, tried on this one.
import { Code, ConnectError, startWorker } from "@jetrpc/runtime";
import { headers as makeHeaders } from "@nats-io/nats-core";
import {
  context,
  diag,
  ProxyTracerProvider,
  propagation,
  ROOT_CONTEXT,
  SpanKind,
  trace,
} from "@opentelemetry/api";
import {
  CompositePropagator,
  suppressTracing,
  W3CBaggagePropagator,
  W3CTraceContextPropagator,
} from "@opentelemetry/core";
import {
  AggregationTemporality,
  InMemoryMetricExporter,
  MeterProvider,
  PeriodicExportingMetricReader,
} from "@opentelemetry/sdk-metrics";
import { BasicTracerProvider } from "@opentelemetry/sdk-trace-base";
import { expect, onTestFinished, test } from "vitest";
import { TestService } from "../../runtime/test/gen/test/v1/test_pb.js";
import { collect, failureOf, gate, until } from "../../runtime/test/support.js";
import { logFields } from "../src/index.js";
import { active } from "./recorded.js";
import { useTracedService } from "./traced-service.js";

const propagator = new CompositePropagator({
  propagators: [new W3CTraceContextPropagator(), new W3CBaggagePropagator()],
});

const { nats, recorded, serve, connect } = useTracedService({ propagator });

// fs2-grpc#851: handlers lost all but the span.
test.each(["child", "link"] as const)(
  "baggage reaches the handler, with attempts: %s",
  async (attempts) => {
    const seen: (string | undefined)[] = [];
    await serve(
      {
        do: () => {
          seen.push(propagation.getActiveBaggage()?.getEntry("tenant")?.value);
          return {};
        },
      },
      { attempts },
    );
    const client = await connect();
    const baggage = propagation.createBaggage({ tenant: { value: "acme" } });
    await context.with(propagation.setBaggage(ROOT_CONTEXT, baggage), () => client.do({}));
    expect(seen).toEqual(["acme"]);
  },
);

// amqplib, kafkajs: consumers that threw at headers of other producers.
test.each([
  "",
  "garbage",
  "00-00000000000000000000000000000000-0000000000000000-01",
  "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
  `00-${"a".repeat(5_000)}`,
  "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-of-no-version",
])("a traceparent that is none begins a trace: %#", async (traceparent) => {
  await serve({ get: () => ({}) });
  const root = await nats.connect();
  const headers = makeHeaders();
  headers.set("traceparent", traceparent);
  headers.set("tracestate", "=,=,~");
  headers.set("baggage", ";;;=");
  await root.nats.request("test.v1.TestService.rpc.Get", "", { timeout: 60_000, headers });
  const [span] = await recorded.spans(1);
  expect([span?.kind, span?.parentSpanContext]).toEqual([SpanKind.SERVER, undefined]);
});

// W3C: a later version may say more; of what is too long or too much only the state is left out.
test.each(["a=b", `a=${"b".repeat(600)}`, Array.from({ length: 40 }, (_, i) => `v${i}=x`).join()])(
  "a traceparent of a later version goes on, whatever its tracestate: %#",
  async (tracestate) => {
    const told: (string | null)[] = [];
    await serve({
      get: (_, { requestHeader }) => {
        told.push(requestHeader.get("traceparent"));
        return {};
      },
    });
    const client = await connect();
    const traceId = "0af7651916cd43dd8448eb211c80319c";
    const traceparent = `cc-${traceId}-b7ad6b7169203331-01-what-the-future-will-be-like`;
    await client.get({}, { headers: { traceparent, tracestate } });
    const spans = await recorded.spans(2);
    for (const span of spans) {
      expect(span.spanContext().traceId).toBe(traceId);
      const state = span.spanContext().traceState?.serialize() ?? "";
      expect([state.length <= 512, state.split(",").length <= 32]).toEqual([true, true]);
    }
    const caller = spans.find(({ kind }) => kind === SpanKind.CLIENT);
    expect(told).toEqual([`00-${traceId}-${caller?.spanContext().spanId}-01`]);
  },
);

// opentelemetry-go-contrib#6446, amqplib: spans of calls whose connection went away stayed open.
test("a worker whose connection is closed leaves no span open", async () => {
  const begun = gate();
  const durable = gate();
  const { connection } = await serve({
    get: () => {
      begun.open();
      return new Promise(() => undefined);
    },
    do: () => {
      durable.open();
      return new Promise(() => undefined);
    },
    async *down() {
      yield {};
      await new Promise(() => undefined);
    },
  });
  const client = await nats.client();
  await client.do.submit({});
  const lost = failureOf(client.get({}, { timeoutMs: 60_000 }));
  const stream = client.down({}, { timeoutMs: 60_000 })[Symbol.asyncIterator]();
  await stream.next();
  await begun.opened;
  await durable.opened;
  await connection.close();
  const spans = await recorded.spans(3);
  expect(spans.map(({ name }) => name).sort()).toEqual([
    "process test.v1.TestService.queue.Do",
    "test.v1.TestService/Down",
    "test.v1.TestService/Get",
  ]);
  void lost;
  await stream.return?.();
});

// Exporters that call by what they export: each of their calls would make more spans.
test("where tracing is suppressed, no span is made, and the worker begins no trace of that", async () => {
  const seen: unknown[] = [];
  await serve({
    get: (_, { requestHeader }) => {
      seen.push(requestHeader.get("traceparent"));
      return {};
    },
  });
  const client = await connect();
  await context.with(suppressTracing(ROOT_CONTEXT), () => client.get({}));
  const [span] = await recorded.spans(1);
  expect([span?.kind, seen]).toEqual([SpanKind.SERVER, [null]]);
});

// open-feature/js-sdk-contrib#1522, bullmq#2942: what began in one request put all that followed into its trace.
test("what a client and a worker keep running is in the trace of no call", async () => {
  const traces: (string | undefined)[] = [];
  const app = recorded.tracers.getTracer("app");
  const startup = app.startSpan("startup");
  const within = trace.setSpan(ROOT_CONTEXT, startup);
  const client = await context.with(within, async () => {
    await serve({
      do: () => {
        traces.push(active()?.traceId);
        return {};
      },
    });
    const made = await connect();
    // All that is made late is made here.
    await made.do({});
    return made;
  });
  startup.end();
  const plain = await nats.client();
  await Promise.all([client.do({}), client.do({}), plain.do({})]);
  await until(() => traces.length === 4);
  const [first, ...others] = traces;
  expect(first).toBe(startup.spanContext().traceId);
  expect(new Set([first, ...others]).size).toBe(4);
  // The next spans of the app are in none of their traces.
  expect(active()).toBeUndefined();
});

// bullmq-otel, kafkajs: a second instrumentation doubled all.
test("two connections of one process count each call once", async () => {
  await serve({ get: () => ({}) });
  const observer = recorded.observer();
  const [one, two] = [await nats.client({ observer }), await nats.client({ observer })];
  await one.get({});
  await two.get({});
  await recorded.spans(4);
  expect(await recorded.points("rpc.client.call.duration")).toMatchObject([{ count: 2 }]);
  expect(await recorded.points("rpc.server.call.duration")).toMatchObject([{ count: 2 }]);
});

const silence = () => undefined;
const silent = { error: silence, warn: silence, info: silence, debug: silence, verbose: silence };
const broken = () => {
  throw new Error("broken");
};

// opentelemetry-js-contrib#3691: what was thrown between the begin of a span and its end left it open.
test("a view that throws costs neither a call nor a span", async () => {
  const meterProvider = new MeterProvider({
    views: [{ instrumentName: "*", attributesProcessors: [{ process: broken }] }],
    readers: [
      new PeriodicExportingMetricReader({
        exporter: new InMemoryMetricExporter(AggregationTemporality.CUMULATIVE),
      }),
    ],
  });
  onTestFinished(() => meterProvider.shutdown());
  const told: string[] = [];
  diag.setLogger({ ...silent, error: (text) => told.push(text) });
  onTestFinished(() => diag.disable());
  await serve(
    {
      get: () => ({}),
      do: () => ({}),
      async *down() {
        yield {};
      },
    },
    { meterProvider },
  );
  const client = await connect({ meterProvider });
  await client.get({});
  await client.do({});
  await collect(client.down({}));
  // CLIENT and SERVER; CLIENT, PRODUCER and CONSUMER; CLIENT and SERVER.
  await recorded.spans(7);
  expect(told).toContain("@jetrpc/otel");
});

test("a sampler that throws costs neither a call nor a count", async () => {
  const tracerProvider = new BasicTracerProvider({ sampler: { shouldSample: broken } });
  await serve({ get: () => ({}), do: () => ({}) }, { tracerProvider });
  const client = await connect({ tracerProvider });
  await client.get({});
  await client.do({});
  for (const metric of ["rpc.client.call.duration", "rpc.server.call.duration"]) {
    const points = await recorded.points(metric);
    expect(
      points.some(({ attributes }) => attributes["rpc.method"] === "test.v1.TestService/Get"),
    ).toBe(true);
  }
  await until(async () => (await recorded.points("messaging.process.duration")).length === 1);
});

test("a processor that throws costs its spans: what is below hangs at the span above, and spans end", async () => {
  await serve({ get: () => ({}), do: () => ({}) });
  const app = recorded.tracers.getTracer("app").startSpan("app");
  const ended: string[] = [];
  for (const at of ["onStart", "onEnd"]) {
    const processor = {
      onStart: () => undefined,
      onEnd: ({ name }: { name: string }) => ended.push(name),
      forceFlush: async () => undefined,
      shutdown: async () => undefined,
      [at]: broken,
    };
    const tracerProvider = new BasicTracerProvider({ spanProcessors: [processor] });
    const client = await connect({ tracerProvider });
    await context.with(trace.setSpan(ROOT_CONTEXT, app), () => client.get({}));
  }
  app.end();
  const served = (await recorded.spans(3)).filter(({ kind }) => kind === SpanKind.SERVER);
  expect(served.map((span) => span.spanContext().traceId)).toEqual(
    Array(2).fill(app.spanContext().traceId),
  );
  expect(ended).toEqual([]);
  const points = await recorded.points("rpc.client.call.duration");
  expect(points.map(({ count }) => count)).toEqual([2]);
});

// dd-trace-js#429: ids of a span that nobody made are zeros, by which a backend joins all lines.
test("without an SDK logs name no trace, and the call all the same", async () => {
  const seen: unknown[] = [];
  const tracerProvider = new ProxyTracerProvider();
  const { logged } = await serve(
    {
      get: () => {
        seen.push(logFields());
        return {};
      },
      do: () => {
        seen.push(logFields());
        throw new ConnectError("no", Code.InvalidArgument);
      },
    },
    { tracerProvider },
  );
  const client = await connect({ tracerProvider });
  await client.get({});
  const call = await client.do.submit({});
  await failureOf(call.result());
  expect(seen).toEqual([{}, { call_id: call.id }]);
  await until(() => logged.length > 0);
  expect(logged.map(({ fields }) => fields)).toEqual([{}]);
});

test("baggage without room stays behind, and the trace travels, in whatever order propagators write", async () => {
  const server = await nats.start({ maxPayload: 16_384 });
  onTestFinished(() => server.stop());
  const told: (string | null)[][] = [];
  const worker = await nats.connect({ as: "worker", url: server.url });
  await startWorker(
    TestService,
    {
      get: (_, { requestHeader }) => {
        told.push(["traceparent", "baggage"].map((name) => requestHeader.get(name)));
        return {};
      },
    },
    worker,
  );
  const backwards = new CompositePropagator({
    propagators: [new W3CBaggagePropagator(), new W3CTraceContextPropagator()],
  });
  const baggage = propagation.createBaggage({
    tenant: { value: "a".repeat(2_500) },
    page: { value: "b".repeat(2_500) },
  });
  for (const each of [propagator, backwards]) {
    const observer = recorded.observer({ propagator: each });
    const client = await nats.client({ url: server.url, observer });
    await context.with(propagation.setBaggage(ROOT_CONTEXT, baggage), () => client.get({}));
  }
  const traced = [expect.stringMatching(/^00-[\da-f]{32}-[\da-f]{16}-01$/), null];
  expect(told).toEqual([traced, traced]);
});

// Applications shut the SDK down at SIGTERM, before their last calls are over.
test("an SDK that is shut down costs no call, on old connections and on new ones", async () => {
  const meterProvider = new MeterProvider();
  const tracerProvider = new BasicTracerProvider();
  const providers = { meterProvider, tracerProvider };
  await serve({ get: () => ({}), do: () => ({}) }, providers);
  const old = await connect(providers);
  await old.get({});
  await Promise.all([meterProvider.shutdown(), tracerProvider.shutdown()]);
  for (const client of [old, await connect(providers)]) {
    await client.get({});
    await client.do({});
  }
});
