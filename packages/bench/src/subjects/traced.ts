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

/** Which traces are kept: the share that the SDK's sampler keeps of those that begin, and the share of calls that begin one. */
export interface Kept {
  readonly sampler: number;
  readonly newTraces?: number | undefined;
}

const done = { code: 0 };

/** What an app has whose spans and metrics go to a collector, but for the way there. */
function observe({ sampler, newTraces }: Kept): CreateObserver {
  context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable());
  const ended = { forceFlush: async () => undefined, shutdown: async () => undefined };
  const tracerProvider = new BasicTracerProvider({
    sampler: new ParentBasedSampler({ root: new TraceIdRatioBasedSampler(sampler) }),
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
  return telemetry({ tracerProvider, meterProvider, propagator, newTraces });
}

/** Direct calls, watched by both sides where it is said what is kept; as callers decide, workers do not. */
export function traced(kept?: Kept): Way {
  const connectTo = (servers: string[], watched: Kept | undefined) =>
    connect({ nats: { servers }, ...(watched && { observer: observe(watched) }) });
  return {
    async serve(servers) {
      const asTold = kept?.newTraces === undefined ? kept : { ...kept, newTraces: 0 };
      await serve(
        BenchService,
        { echo: ({ payload }) => ({ payload }), echoOrder: (order) => order },
        { connection: await connectTo(servers, asTold) },
      );
      return { address: "" };
    },
    async connect(servers) {
      const client = createClient<TracedClient>(BenchService, await connectTo(servers, kept));
      return {
        bytes: (payload) => client.echo({ payload }),
        order: (order) => client.echoOrder(order),
      };
    },
  };
}
