import { telemetry } from "@jetrpc/otel";
import { type CreateObserver, createClient, type UnaryMethod } from "@jetrpc/runtime";
import { connect, serve } from "@jetrpc/runtime/node";
import { context } from "@opentelemetry/api";
import { AsyncLocalStorageContextManager } from "@opentelemetry/context-async-hooks";
import { W3CTraceContextPropagator } from "@opentelemetry/core";
import {
  AggregationTemporality,
  MeterProvider,
  PeriodicExportingMetricReader,
} from "@opentelemetry/sdk-metrics";
import {
  BasicTracerProvider,
  BatchSpanProcessor,
  ParentBasedSampler,
  TraceIdRatioBasedSampler,
} from "@opentelemetry/sdk-trace-base";
import {
  BenchService,
  type EchoRequestSchema,
  type EchoResponseSchema,
  type OrderSchema,
} from "../gen/bench/v1/bench_pb.js";
import type { Way } from "../subject.js";

interface TracedClient {
  echo: UnaryMethod<typeof EchoRequestSchema, typeof EchoResponseSchema>;
  echoOrder: UnaryMethod<typeof OrderSchema, typeof OrderSchema>;
}

const done = { code: 0 };

/** What an app has whose spans and metrics go to a collector, but for the way there. */
function observe(sampled: number): CreateObserver {
  context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable());
  const ended = { forceFlush: async () => undefined, shutdown: async () => undefined };
  const tracerProvider = new BasicTracerProvider({
    sampler: new ParentBasedSampler({ root: new TraceIdRatioBasedSampler(sampled) }),
    spanProcessors: [
      new BatchSpanProcessor(
        { ...ended, export: (_, report) => report(done) },
        { maxQueueSize: 1e6 },
      ),
    ],
  });
  const exporter = {
    ...ended,
    export: (_: unknown, report: (result: typeof done) => void) => report(done),
    selectAggregationTemporality: () => AggregationTemporality.CUMULATIVE,
  };
  const meterProvider = new MeterProvider({
    readers: [new PeriodicExportingMetricReader({ exporter })],
  });
  const propagator = new W3CTraceContextPropagator();
  return telemetry({ tracerProvider, meterProvider, propagator });
}

/** Direct calls, watched by both sides; `sampled` is the share of traces that is kept, undefined for no observer. */
export function traced(sampled: number | undefined): Way {
  const connectTo = (servers: string[]) =>
    connect({
      nats: { servers },
      ...(sampled !== undefined && { observer: observe(sampled) }),
    });
  return {
    async serve(servers) {
      await serve(
        BenchService,
        { echo: ({ payload }) => ({ payload }), echoOrder: (order) => order },
        { connection: await connectTo(servers) },
      );
      return { address: "" };
    },
    async connect(servers) {
      const client = createClient<TracedClient>(BenchService, await connectTo(servers));
      return {
        bytes: (payload) => client.echo({ payload }),
        order: (order) => client.echoOrder(order),
      };
    },
  };
}
