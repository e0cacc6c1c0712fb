import { context, metrics, propagation, trace } from "@opentelemetry/api";
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
  type ReadableSpan,
  SimpleSpanProcessor,
  type SpanExporter,
} from "@opentelemetry/sdk-trace-base";

/** A span as it is sent from process to process. */
export interface SentSpan {
  readonly trace: string;
  readonly id: string;
  readonly parent: string | undefined;
  readonly name: string;
  readonly process: string;
  readonly beganAtMs: number;
  readonly ms: number;
  readonly outcome: string | undefined;
  /** The span of the attempt before this one. */
  readonly attemptBefore: string | undefined;
}

/** A number of a metric. */
export interface SentPoint {
  readonly metric: string;
  readonly attributes: string;
  readonly count: number;
  /** Of a histogram, in s. */
  readonly sum: number | undefined;
}

/** Sets OpenTelemetry up for a process: each span is given away when it ends. Returns its metrics. */
export function setUp(process: string, give: (span: SentSpan) => void): () => Promise<SentPoint[]> {
  const exporter: SpanExporter = {
    export: (spans, done) => {
      for (const span of spans) {
        give(toSent(span, process));
      }
      done({ code: 0 });
    },
    shutdown: async () => undefined,
  };
  trace.setGlobalTracerProvider(
    new BasicTracerProvider({ spanProcessors: [new SimpleSpanProcessor(exporter)] }),
  );
  context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable());
  propagation.setGlobalPropagator(new W3CTraceContextPropagator());
  const memory = new InMemoryMetricExporter(AggregationTemporality.CUMULATIVE);
  const reader = new PeriodicExportingMetricReader({
    exporter: memory,
    exportIntervalMillis: 3_600_000,
  });
  const meters = new MeterProvider({ readers: [reader] });
  metrics.setGlobalMeterProvider(meters);
  return async () => {
    memory.reset();
    await meters.forceFlush();
    const all = memory.getMetrics().flatMap(({ scopeMetrics }) => scopeMetrics);
    return all.flatMap((scope) =>
      scope.metrics.flatMap(({ descriptor, dataPoints }) =>
        dataPoints.map(({ attributes, value }) => ({
          metric: descriptor.name,
          attributes: ["rpc.method", "outcome", "state", "error.type"]
            .flatMap((name) => attributes[name] ?? [])
            .join(" "),
          count: typeof value === "number" ? value : (value as Histogram).count,
          sum: typeof value === "number" ? undefined : (value as Histogram).sum,
        })),
      ),
    );
  };
}

function toSent(span: ReadableSpan, process: string): SentSpan {
  const { traceId, spanId } = span.spanContext();
  const ms = ([seconds, nanos]: [number, number]) => seconds * 1000 + nanos / 1e6;
  const link = span.links.find(({ attributes }) => attributes?.["jetrpc.link"] === "attempt");
  return {
    trace: traceId,
    id: spanId,
    parent: span.parentSpanContext?.spanId,
    name: span.name,
    process,
    beganAtMs: ms(span.startTime),
    ms: ms(span.duration),
    outcome: span.attributes["jetrpc.attempt.outcome"] as string | undefined,
    attemptBefore: link?.context.spanId,
  };
}
