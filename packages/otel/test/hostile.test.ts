// Faults that instrumentations of other libraries have had, tried on this one.
import { startWorker } from "@jetrpc/runtime";
import { headers as makeHeaders } from "@nats-io/nats-core";
import { context, propagation, ROOT_CONTEXT, SpanKind, trace } from "@opentelemetry/api";
import {
  CompositePropagator,
  suppressTracing,
  W3CBaggagePropagator,
  W3CTraceContextPropagator,
} from "@opentelemetry/core";
import { expect, test } from "vitest";
import { TestService } from "../../runtime/test/gen/test/v1/test_pb.js";
import { failureOf, gate, type TestImpl, until, useNats } from "../../runtime/test/support.js";
import type { TelemetryOptions } from "../src/index.js";
import { active, useTelemetry } from "./recorded.js";

const nats = useNats();
const recorded = useTelemetry();
const propagator = new CompositePropagator({
  propagators: [new W3CTraceContextPropagator(), new W3CBaggagePropagator()],
});

async function serve(impl: TestImpl, options?: TelemetryOptions) {
  const observer = recorded.observer({ propagator, ...options });
  const connection = await nats.connect({ as: "worker", observer });
  await startWorker(TestService, impl, connection, { drainTimeoutMs: 1_000 });
  return connection;
}

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
    const client = await nats.client({ observer: recorded.observer({ propagator }) });
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

// opentelemetry-go-contrib#6446, amqplib: spans of calls whose connection went away stayed open.
test("a worker whose connection is closed leaves no span open", async () => {
  const begun = gate();
  const durable = gate();
  const connection = await serve({
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
  const client = await nats.client({ observer: recorded.observer({ propagator }) });
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
    const made = await nats.client({ observer: recorded.observer() });
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
