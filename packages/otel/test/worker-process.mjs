// A worker process for tests to kill, with telemetry of its own, which nobody reads: the
// handler says which span is active, and then never ends.
import { telemetry } from "@jetrpc/otel";
import { serve } from "@jetrpc/runtime/node";
import { context, trace } from "@opentelemetry/api";
import { AsyncLocalStorageContextManager } from "@opentelemetry/context-async-hooks";
import { W3CTraceContextPropagator } from "@opentelemetry/core";
import { BasicTracerProvider } from "@opentelemetry/sdk-trace-base";
import { TestService } from "../../runtime/test/gen/test/v1/test_pb.js";

// Dies with the parent, however that goes.
process.stdin.on("end", () => process.exit()).resume();

context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable());

const forEver = () => new Promise(() => undefined);
const say = () => console.log(JSON.stringify(trace.getSpanContext(context.active())));

await serve(
  TestService,
  {
    async do() {
      // Its attempt is noted in the log of the call after 250 ms.
      await new Promise((resolve) => setTimeout(resolve, 400));
      say();
      await forEver();
    },
    async *count() {
      yield { index: 0 };
      yield { index: 1 };
      say();
      await forEver();
    },
  },
  {
    observer: telemetry({
      tracerProvider: new BasicTracerProvider(),
      propagator: new W3CTraceContextPropagator(),
    }),
  },
);
console.log("ready");
