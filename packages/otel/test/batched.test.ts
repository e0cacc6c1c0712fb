import { batched } from "@jetrpc/runtime";
import { context, SpanStatusCode, TraceFlags, trace } from "@opentelemetry/api";
import {
  BasicTracerProvider,
  type ReadableSpan,
  type Sampler,
  SamplingDecision,
} from "@opentelemetry/sdk-trace-base";
import { expect, test } from "vitest";
import { failureOf, until } from "../../runtime/test/support.js";
import { logFields, type TelemetryOptions } from "../src/index.js";
import { active, ownSpan, parentOf } from "./recorded.js";
import { useTracedService } from "./traced-service.js";

const traced = useTracedService();
const { nats, recorded } = traced;

/** Serves `Do` and `Get` by one batched function; returns a client. */
async function serve(
  run: (texts: string[]) => string[],
  maxSize: number,
  options?: TelemetryOptions,
) {
  const together = batched<string, string>((texts) => run(texts), { maxSize, maxWaitMs: 60_000 });
  await traced.serve(
    {
      do: async ({ text }, call) => ({ text: await together(text, call) }),
      get: async ({ text }, call) => ({ text: await together(text, call) }),
    },
    options,
  );
  return traced.connect();
}

const idOf = (span: ReadableSpan | undefined) => span?.spanContext().spanId;

const linksOf = (span: ReadableSpan | undefined, kind: string) =>
  span?.links
    .filter(({ attributes }) => attributes?.["jetrpc.link"] === kind)
    .map((link) => link.context.spanId);

const batchName = "batch test.v1.TestService/Do";
const attemptName = "process test.v1.TestService.queue.Do";

test("a batch hangs below one of its calls, and is linked with the others", async () => {
  const fields: Record<string, string>[] = [];
  const client = await serve((texts) => {
    ownSpan(recorded, "the model");
    fields.push(logFields());
    return texts;
  }, 3);
  const answers = await Promise.all(["a", "b", "c"].map((text) => client.do({ text })));
  expect(answers.map(({ text }) => text)).toEqual(["a", "b", "c"]);

  const [batch] = await recorded.spans(1, batchName);
  const attempts = await recorded.spans(3, attemptName);
  const [model] = await recorded.spans(1, "the model");
  expect(parentOf(model)).toBe(idOf(batch));
  expect(batch?.attributes).toEqual({
    "rpc.method": "test.v1.TestService/Do",
    "jetrpc.batch.calls": 3,
  });
  const main = attempts.find((attempt) => idOf(attempt) === parentOf(batch));
  expect(main?.spanContext().traceId).toBe(batch?.spanContext().traceId);
  const others = attempts.filter((attempt) => attempt !== main);
  expect(others).toHaveLength(2);
  expect(linksOf(batch, "call")?.sort()).toEqual(others.map(idOf).sort());
  expect(others.map((other) => linksOf(other, "batch"))).toEqual([[idOf(batch)], [idOf(batch)]]);
  expect(linksOf(main, "batch")).toEqual([]);
  // It is none of the calls.
  expect(fields).toEqual([
    { trace_id: batch?.spanContext().traceId, span_id: idOf(batch), trace_flags: "01" },
  ]);
});

test("a batch of one call is below it, also of a direct one", async () => {
  const client = await serve((texts) => texts, 1);
  await client.get({ text: "a" });
  const [batch] = await recorded.spans(1, "batch test.v1.TestService/Get");
  const spans = await recorded.spans(2, "test.v1.TestService/Get");
  expect(spans.map(idOf)).toContain(parentOf(batch));
  expect([batch?.links, batch?.attributes["jetrpc.batch.calls"]]).toEqual([[], 1]);
});

test("a batch that throws is an error, and each of its calls has one of its own", async () => {
  const client = await serve((texts) => {
    if (texts.length > 1) {
      throw new Error("out of memory");
    }
    return texts;
  }, 2);
  await Promise.all(["a", "b"].map((text) => client.do({ text })));
  const [together, ...alone] = await recorded.spans(3, batchName);
  expect([together?.status.code, together?.attributes["error.type"]]).toEqual([
    SpanStatusCode.ERROR,
    "UNKNOWN",
  ]);
  const attempts = await recorded.spans(2, attemptName);
  expect(alone.map(parentOf).sort()).toEqual(attempts.map(idOf).sort());
  expect(alone.map(({ status }) => status.code)).toEqual([
    SpanStatusCode.UNSET,
    SpanStatusCode.UNSET,
  ]);
});

test("an error of one item is that of its call, not of the batch", async () => {
  const together = batched<string, string>(
    (texts) => texts.map((text) => (text === "bad" ? (new Error("bad") as never) : text)),
    { maxSize: 2, maxWaitMs: 60_000 },
  );
  await traced.serve({ get: async ({ text }, call) => ({ text: await together(text, call) }) });
  const client = await nats.client();
  await Promise.all([client.get({ text: "good" }), failureOf(client.get({ text: "bad" }))]);
  const [batch] = await recorded.spans(1, "batch test.v1.TestService/Get");
  expect(batch?.status.code).toBe(SpanStatusCode.UNSET);
});

test("where few traces are kept, a batch is in the one that is", async () => {
  // Traces of calls whose text is "kept".
  const sampler: Sampler = {
    shouldSample: (of) => ({
      decision:
        (trace.getSpanContext(of)?.traceFlags ?? 0) & TraceFlags.SAMPLED
          ? SamplingDecision.RECORD_AND_SAMPLED
          : SamplingDecision.NOT_RECORD,
    }),
    toString: () => "those of a parent that is kept",
  };
  const seen: (string | undefined)[] = [];
  const client = await serve(
    (texts) => {
      seen.push(active()?.traceId);
      return texts;
    },
    3,
    { tracerProvider: new BasicTracerProvider({ sampler }) },
  );
  const parent = (digit: string, traceFlags: TraceFlags) =>
    trace.setSpanContext(context.active(), {
      traceId: digit.repeat(32),
      spanId: digit.repeat(16),
      traceFlags,
    });
  const plain = await nats.client({
    observer: recorded.observer({ tracerProvider: new BasicTracerProvider({ sampler }) }),
  });
  await Promise.all([
    context.with(parent("1", TraceFlags.NONE), () => plain.do({ text: "a" })),
    context.with(parent("2", TraceFlags.SAMPLED), () => plain.do({ text: "kept" })),
    context.with(parent("3", TraceFlags.NONE), () => plain.do({ text: "c" })),
  ]);
  await until(() => seen.length === 1);
  expect(seen).toEqual(["2".repeat(32)]);
  void client;
});

test("a link that throws costs neither the batch nor its span", async () => {
  const broken = new BasicTracerProvider({
    spanProcessors: [
      {
        onStart: (span) => {
          span.addLink = () => {
            throw new Error("broken");
          };
        },
        onEnd: (span) => {
          ended.push(span.name);
        },
        forceFlush: async () => undefined,
        shutdown: async () => undefined,
      },
    ],
  });
  const ended: string[] = [];
  const client = await serve((texts) => texts, 2, { tracerProvider: broken });
  const answers = await Promise.all(["a", "b"].map((text) => client.do({ text })));
  expect(answers.map(({ text }) => text)).toEqual(["a", "b"]);
  await until(() => ended.length === 3);
  expect(ended.sort()).toEqual([batchName, attemptName, attemptName].sort());
});

test("the SDK keeps 128 links of a span, as docs/telemetry.md says", async () => {
  const span = recorded.tracers.getTracer("links").startSpan("many");
  for (let i = 0; i < 200; i++) {
    span.addLink({ context: span.spanContext() });
  }
  span.end();
  const [many] = await recorded.spans(1, "many");
  expect(many?.links).toHaveLength(128);
});
