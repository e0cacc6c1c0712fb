// A worker process as the README sets it up: it is told to stop while a call runs, and exports the
// last spans and metrics before it ends.
import { readFileSync } from "node:fs";
import { telemetry } from "@jetrpc/otel";
import { serve } from "@jetrpc/runtime/node";
import { context, metrics, propagation, trace } from "@opentelemetry/api";
import { AsyncLocalStorageContextManager } from "@opentelemetry/context-async-hooks";
import { W3CTraceContextPropagator } from "@opentelemetry/core";
import {
  AggregationTemporality,
  MeterProvider,
  PeriodicExportingMetricReader,
} from "@opentelemetry/sdk-metrics";
import { BasicTracerProvider, BatchSpanProcessor } from "@opentelemetry/sdk-trace-base";
import { TestService } from "../../runtime/test/gen/test/v1/test_pb.js";

// Dies with the parent, however that goes.
process.stdin.on("end", () => process.exit()).resume();
process.stdin.unref();

// An exporter that takes its time, as the network does.
const say = (lines) => (_, done) =>
  setTimeout(() => {
    if (process.env["COLLECTOR"] === "away") {
      done({ code: 1, error: new Error("the collector is away") });
      return;
    }
    for (const line of lines(_)) {
      console.log(line);
    }
    done({ code: 0 });
  }, 50);
const ended = { shutdown: async () => undefined, forceFlush: async () => undefined };
const tracers = new BasicTracerProvider({
  spanProcessors: [
    new BatchSpanProcessor(
      { ...ended, export: (spans, done) => say((all) => all.map(({ name }) => name))(spans, done) },
      { scheduledDelayMillis: 3_600_000 },
    ),
  ],
});
const exporter = {
  ...ended,
  export: say(({ scopeMetrics }) =>
    scopeMetrics.flatMap(({ metrics: all }) => all.map(({ descriptor }) => descriptor.name)),
  ),
  selectAggregationTemporality: () => AggregationTemporality.CUMULATIVE,
};
const meters = new MeterProvider({
  readers: [new PeriodicExportingMetricReader({ exporter, exportIntervalMillis: 3_600_000 })],
});
trace.setGlobalTracerProvider(tracers);
metrics.setGlobalMeterProvider(meters);
propagation.setGlobalPropagator(new W3CTraceContextPropagator());
context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable());
const sdk = { shutdown: () => Promise.all([tracers.shutdown(), meters.shutdown()]) };
const readme = readFileSync(new URL("../README.md", import.meta.url), "utf8");
new Function("sdk", /^process\.once.*$/m.exec(readme)[0])(sdk);

await serve(
  TestService,
  {
    async do() {
      console.log("began");
      await new Promise((resolve) => setTimeout(resolve, 500));
      return {};
    },
  },
  { observer: telemetry() },
);
console.log("ready");
