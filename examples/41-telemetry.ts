// Traces and metrics by OpenTelemetry: an observer on each side, and the SDK of your choice. Here
// spans are kept in memory, and printed.
import { telemetry } from "@jetrpc/otel";
import { connect, serve } from "@jetrpc/runtime/node";
import { createPhotoClient, PhotoService } from "@jetrpc-examples/photo-v1-client";
import { context, propagation, SpanKind, trace } from "@opentelemetry/api";
import { AsyncLocalStorageContextManager } from "@opentelemetry/context-async-hooks";
import { W3CTraceContextPropagator } from "@opentelemetry/core";
import {
  BasicTracerProvider,
  InMemorySpanExporter,
  SimpleSpanProcessor,
} from "@opentelemetry/sdk-trace-base";
import { startServer } from "./server.js";

// In an app: NodeSDK of @opentelemetry/sdk-node, which does the same and exports to a collector.
const exporter = new InMemorySpanExporter();
trace.setGlobalTracerProvider(
  new BasicTracerProvider({ spanProcessors: [new SimpleSpanProcessor(exporter)] }),
);
context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable());
propagation.setGlobalPropagator(new W3CTraceContextPropagator());

await using _server = await startServer();
const connection = await connect({ observer: telemetry() });
const photos = createPhotoClient(connection);

const worker = await serve(
  PhotoService,
  {
    getInfo: () => ({ width: 4000 }),
    async resize({ photo, width }, { attempt }) {
      // Spans of a handler hang below that of its attempt.
      await trace.getTracer("worker").startActiveSpan("read the file", async (span) => span.end());
      if (attempt === 1) {
        throw new Error("a disk that comes and goes");
      }
      return { file: `${width}-${photo}` };
    },
  },
  { connection, logger: false },
);

await photos.getInfo({ photo: "sea.jpg" });
await photos.resize({ photo: "sea.jpg", width: 800 });
await worker.drain();
await connection.close();

const spans = exporter.getFinishedSpans();
const byTime = (a: (typeof spans)[0], b: (typeof spans)[0]) =>
  a.startTime[0] - b.startTime[0] || a.startTime[1] - b.startTime[1];
function print(parent: string | undefined, indent: string): void {
  const children = spans.filter((span) => span.parentSpanContext?.spanId === parent);
  for (const span of children.sort(byTime)) {
    const { "jetrpc.attempt.outcome": outcome = "" } = span.attributes;
    console.log(`${indent}${SpanKind[span.kind]} ${span.name} ${outcome}`.trimEnd());
    print(span.spanContext().spanId, `${indent}  `);
  }
}
print(undefined, "");

// Prints:
// CLIENT photo.v1.PhotoService/GetInfo
//   SERVER photo.v1.PhotoService/GetInfo
// CLIENT photo.v1.PhotoService/Resize
//   PRODUCER submit photo.v1.PhotoService.queue.Resize
//     CONSUMER process photo.v1.PhotoService.queue.Resize retry
//       INTERNAL read the file
//     CONSUMER process photo.v1.PhotoService.queue.Resize succeeded
//       INTERNAL read the file
