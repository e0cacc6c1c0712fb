import type { CreateObserver } from "@jetrpc/runtime";
import { type Attributes, context, SpanKind, trace } from "@opentelemetry/api";
import { AsyncLocalStorageContextManager } from "@opentelemetry/context-async-hooks";
import { W3CTraceContextPropagator } from "@opentelemetry/core";
import {
  AggregationTemporality,
  type Histogram,
  InMemoryMetricExporter,
  MeterProvider,
  PeriodicExportingMetricReader,
} from "@opentelemetry/sdk-metrics";
import {
  BasicTracerProvider,
  InMemorySpanExporter,
  type ReadableSpan,
  type Sampler,
  SimpleSpanProcessor,
} from "@opentelemetry/sdk-trace-base";
import { afterAll, afterEach, beforeAll, beforeEach, expect } from "vitest";
import { until } from "../../runtime/test/support.js";
import { type TelemetryOptions, telemetry } from "../src/index.js";

/** A data point of a metric. */
interface Point {
  readonly attributes: Attributes;
  /** Of a histogram: how many values. */
  readonly count: number;
  /** The number, or the sum of a histogram. */
  readonly value: number;
}

/** All that a test's connections report, in memory. */
export interface Recorded {
  /** An observer for a connection. */
  observer(options?: TelemetryOptions): CreateObserver;
  readonly tracers: BasicTracerProvider;
  readonly meters: MeterProvider;
  /** The spans that have ended, with these names or all, once there are so many. */
  spans(count: number, name?: string): Promise<ReadableSpan[]>;
  /** Those that have ended until now, with a name or all. */
  finished(name?: string): ReadableSpan[];
  /** The points of a metric, or none. */
  points(metric: string): Promise<Point[]>;
  /** Names of all metrics. */
  metrics(): Promise<string[]>;
  /** Which buckets a histogram has. */
  bucketsOf(metric: string): Promise<readonly number[]>;
}

/** The context manager of Node for all tests of a file, and new providers for each of them. */
export function useTelemetry(sampler?: Sampler): Recorded {
  let exporter: InMemorySpanExporter;
  let tracers: BasicTracerProvider;
  let metricExporter: InMemoryMetricExporter;
  let meters: MeterProvider;
  let started = 0;
  let ended = 0;
  beforeAll(() => {
    context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable());
  });
  afterAll(() => context.disable());
  beforeEach(() => {
    exporter = new InMemorySpanExporter();
    started = 0;
    ended = 0;
    const counter = {
      onStart: () => void started++,
      onEnd: () => void ended++,
      forceFlush: async () => undefined,
      shutdown: async () => undefined,
    };
    tracers = new BasicTracerProvider({
      spanProcessors: [new SimpleSpanProcessor(exporter), counter],
      ...(sampler && { sampler }),
    });
    metricExporter = new InMemoryMetricExporter(AggregationTemporality.CUMULATIVE);
    meters = new MeterProvider({
      readers: [
        new PeriodicExportingMetricReader({
          exporter: metricExporter,
          exportIntervalMillis: 3_600_000,
        }),
      ],
    });
  });
  afterEach(async () => {
    // No span is left open, however its call has ended; and no metric has an id.
    await until(() => started === ended);
    for (const metric of await collect()) {
      for (const { attributes } of metric.dataPoints) {
        expect(
          Object.keys(attributes).filter((name) => !allowed.includes(name)),
          metric.descriptor.name,
        ).toEqual([]);
        for (const value of Object.values(attributes)) {
          expect(
            ids.some((id) => String(value).includes(id)),
            `${value}`,
          ).toBe(false);
        }
      }
    }
    ids.length = 0;
    await meters.shutdown();
    await tracers.shutdown();
  });
  const collect = async () => {
    metricExporter.reset();
    await meters.forceFlush();
    return metricExporter
      .getMetrics()
      .flatMap(({ scopeMetrics }) => scopeMetrics.flatMap(({ metrics }) => metrics));
  };
  const find = async (name: string) =>
    (await collect()).find(({ descriptor }) => descriptor.name === name);
  return {
    observer: (options) =>
      telemetry({
        tracerProvider: tracers,
        meterProvider: meters,
        propagator: new W3CTraceContextPropagator(),
        ...options,
      }),
    get tracers() {
      return tracers;
    },
    get meters() {
      return meters;
    },
    async spans(count, name) {
      const all = () =>
        exporter.getFinishedSpans().filter((span) => name === undefined || span.name === name);
      await until(() => all().length >= count);
      // A span too many would come at the same time.
      await until(() => started === ended);
      expect(all().map((span) => `${SpanKind[span.kind]} ${span.name}`)).toHaveLength(count);
      return all();
    },
    finished: (name) =>
      exporter.getFinishedSpans().filter((span) => name === undefined || span.name === name),
    async points(metric) {
      return ((await find(metric))?.dataPoints ?? []).map(({ attributes, value }) => {
        const histogram = value as Histogram;
        return typeof value === "number"
          ? { attributes, count: 1, value }
          : { attributes, count: histogram.count, value: histogram.sum ?? 0 };
      });
    },
    async metrics() {
      return (await collect()).map(({ descriptor }) => descriptor.name);
    },
    async bucketsOf(metric) {
      const value = (await find(metric))?.dataPoints[0]?.value as Histogram | undefined;
      return value?.buckets.boundaries ?? [];
    },
  };
}

/** Ids, owners and the like that a test uses: no attribute of a metric may hold one. */
export const ids: string[] = [];

/** All attributes that metrics may have. */
const allowed = [
  "error.type",
  "messaging.destination.name",
  "messaging.operation.name",
  "messaging.operation.type",
  "messaging.system",
  "messaging.system.name",
  "outcome",
  "rpc.method",
  "rpc.status_code",
  "rpc.system.name",
  "server.address",
  "server.port",
  "state",
];

/** A span that a handler makes for itself. */
export function ownSpan(recorded: Recorded, name: string): void {
  recorded.tracers.getTracer("app").startSpan(name).end();
}

/** The ids of the span that is active here. */
export function active(): { traceId: string; spanId: string } | undefined {
  return trace.getSpanContext(context.active());
}

/** The id of the span that a span hangs below. */
export function parentOf(span: ReadableSpan | undefined): string | undefined {
  return span?.parentSpanContext?.spanId;
}
