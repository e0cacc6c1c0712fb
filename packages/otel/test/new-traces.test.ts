import { batched, Code, ConnectError, createRetryInterceptor } from "@jetrpc/runtime";
import {
  context,
  INVALID_SPAN_CONTEXT,
  isSpanContextValid,
  propagation,
  SpanKind,
  type TextMapPropagator,
  TraceFlags,
  trace,
} from "@opentelemetry/api";
import { AsyncLocalStorageContextManager } from "@opentelemetry/context-async-hooks";
import {
  CompositePropagator,
  W3CBaggagePropagator,
  W3CTraceContextPropagator,
} from "@opentelemetry/core";
import {
  BasicTracerProvider,
  SamplingDecision,
  TraceIdRatioBasedSampler,
} from "@opentelemetry/sdk-trace-base";
import { expect, onTestFinished, test, vi } from "vitest";
import { collect, failureOf, until } from "../../runtime/test/support.js";
import { logFields, type TelemetryOptions } from "../src/index.js";
import { UnsampledSpan } from "../src/unsampled.js";
import { ownSpan, parentOf } from "./recorded.js";
import { useTracedService } from "./traced-service.js";

const traced = useTracedService();
const { nats, recorded, serve } = traced;

const getName = "test.v1.TestService/Get";
const doQueue = "test.v1.TestService.queue.Do";

/** A worker that tells the trace context that came in, and makes a span of its own. */
async function serveTold(options?: TelemetryOptions) {
  const told: (string | null)[] = [];
  const work = (requestHeader: Headers) => {
    told.push(requestHeader.get("traceparent"));
    ownSpan(recorded, "work of the handler");
  };
  await serve(
    {
      get: (_, { requestHeader }) => {
        work(requestHeader);
        return {};
      },
      async *down(_, { requestHeader }) {
        work(requestHeader);
        yield {};
      },
      do: (_, { requestHeader, attempt }) => {
        work(requestHeader);
        if (attempt === 1) {
          throw new ConnectError("busy", Code.Unavailable);
        }
        return {};
      },
    },
    options,
  );
  return told;
}

const connect = (newTraces: number, options?: TelemetryOptions) =>
  traced.connect({ newTraces, ...options });

/** Runs within a span whose trace is kept or not. */
function within<T>(traceFlags: TraceFlags, work: () => T): T {
  const span = { traceId: "0af7651916cd43dd8448eb211c80319c", spanId: "b7ad6b7169203331" };
  const given = trace.wrapSpanContext({ ...span, traceFlags });
  return context.with(trace.setSpan(context.active(), given), work);
}

test("a call that begins a trace has spans of it in its worker too, which begins none", async () => {
  const told = await serveTold({ newTraces: 0 });
  const client = await connect(1);
  await client.get({});
  const [one, two] = await recorded.spans(2, getName);
  const [caller, worker] = one?.kind === SpanKind.CLIENT ? [one, two] : [two, one];
  expect(parentOf(worker)).toBe(caller?.spanContext().spanId);
  expect(told).toEqual([expect.stringContaining(caller?.spanContext().spanId as string)]);
  const [work] = await recorded.spans(1, "work of the handler");
  expect(parentOf(work)).toBe(worker?.spanContext().spanId);
});

test("a direct call that begins none has no span and no header, nor have spans below it, and is counted", async () => {
  const told = await serveTold({ newTraces: 0 });
  const client = await connect(0);
  await client.get({});
  await collect(client.down({}));
  await recorded.spans(0);
  expect(told).toEqual([null, null]);
  for (const metric of ["rpc.client.call.duration", "rpc.server.call.duration"]) {
    const points = await recorded.points(metric);
    expect(points.map(({ count }) => count)).toEqual([1, 1]);
  }
});

test("a failure is counted without a span", async () => {
  await serve(
    {
      get: () => {
        throw new ConnectError("no", Code.NotFound);
      },
    },
    { newTraces: 0 },
  );
  expect(await failureOf((await connect(0)).get({}))).toMatchObject({ code: Code.NotFound });
  await recorded.spans(0);
  expect(await recorded.points("rpc.client.call.duration")).toMatchObject([
    { attributes: { "rpc.status_code": "NOT_FOUND", "error.type": "NOT_FOUND" }, count: 1 },
  ]);
});

test("of a durable call its submission decides, for all attempts and all workers", async () => {
  // Its sampler would keep every trace.
  const told = await serveTold();
  await (await connect(0)).do({});
  await recorded.spans(0);
  expect(told).toEqual([
    expect.stringMatching(/^00-[\da-f]{32}-[\da-f]{16}-00$/),
    expect.stringMatching(/^00-[\da-f]{32}-[\da-f]{16}-00$/),
  ]);
  await until(async () => (await recorded.points("messaging.process.duration")).length === 2);
});

test("of a durable call whose attempts have traces of their own its submission decides too", async () => {
  await serveTold({ newTraces: 0, attempts: "link" });
  await (await connect(0)).do({});
  await recorded.spans(0);
  await (await connect(1)).do({});
  const [submit] = await recorded.spans(1, `submit ${doQueue}`);
  for (const attempt of await recorded.spans(2, `process ${doQueue}`)) {
    expect(attempt.parentSpanContext).toBeUndefined();
    expect(attempt.links[0]?.context.spanId).toBe(submit?.spanContext().spanId);
  }
});

test("a call within a trace goes on with it where it is kept", async () => {
  await serveTold({ newTraces: 0 });
  const client = await connect(0);
  await within(TraceFlags.SAMPLED, () => client.get({}));
  const spans = await recorded.spans(2, getName);
  expect(new Set(spans.map((span) => span.spanContext().traceId)).size).toBe(1);
  expect(spans.map(parentOf)).toContain("b7ad6b7169203331");
});

test("a call within a trace that is not kept has no span, and its worker begins none", async () => {
  // Its sampler would keep every trace that nobody has begun.
  const told = await serveTold();
  const client = await connect(1);
  await within(TraceFlags.NONE, () => client.get({}));
  await recorded.spans(0);
  expect(told).toEqual(["00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00"]);
});

test("the share is that of calls", async () => {
  await serveTold({ newTraces: 0 });
  const client = await connect(0.25);
  const random = vi.spyOn(Math, "random");
  onTestFinished(() => random.mockRestore());
  random.mockReturnValue(0.25);
  await client.get({});
  await recorded.spans(0);
  random.mockReturnValue(0.249);
  await client.get({});
  await recorded.spans(2, getName);
});

test("baggage travels with a call that begins no trace", async () => {
  const propagator = new CompositePropagator({
    propagators: [new W3CTraceContextPropagator(), new W3CBaggagePropagator()],
  });
  let baggage: string | undefined;
  const told: (string | null)[] = [];
  await serve(
    {
      get: (_, { requestHeader }) => {
        told.push(requestHeader.get("traceparent"));
        baggage = propagation.getActiveBaggage()?.getEntry("tenant")?.value;
        return {};
      },
    },
    { newTraces: 0, propagator },
  );
  const client = await connect(0, { propagator });
  const given = propagation.createBaggage({ tenant: { value: "acme" } });
  await context.with(propagation.setBaggage(context.active(), given), () => client.get({}));
  expect([baggage, told]).toEqual(["acme", [null]]);
  await recorded.spans(0);
});

test("handlers of calls without a trace log ids of their own", async () => {
  const logged: Record<string, string>[] = [];
  await serve(
    {
      get: () => {
        logged.push(logFields());
        return {};
      },
    },
    { newTraces: 0 },
  );
  const client = await connect(0);
  await client.get({});
  await client.get({});
  const ids = logged.map(({ trace_id, span_id }) => [trace_id, span_id]);
  expect(ids.flat()).toEqual([
    expect.stringMatching(/^[\da-f]{32}$/),
    expect.stringMatching(/^[\da-f]{16}$/),
    expect.stringMatching(/^[\da-f]{32}$/),
    expect.stringMatching(/^[\da-f]{16}$/),
  ]);
  expect(ids[0]).not.toEqual(ids[1]);
});

// Loggers write a span context as JSON, and propagators copy it: getters would be lost.
test("the context of a call without a trace has its ids in copies and as JSON", async () => {
  const seen: unknown[] = [];
  await serve(
    {
      get: () => {
        const own = trace.getActiveSpan()?.spanContext();
        const { trace_id: traceId, span_id: spanId } = logFields();
        seen.push([{ traceId, spanId, traceFlags: TraceFlags.NONE }]);
        seen.push([{ ...own }], [JSON.parse(JSON.stringify(own))], [structuredClone(own)]);
        return {};
      },
    },
    { newTraces: 0 },
  );
  await (await connect(0)).get({});
  expect(seen).toHaveLength(4);
  expect(new Set(seen.map((each) => JSON.stringify(each))).size).toBe(1);
});

const kept = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
const unkept = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00";

test.each<[traceparent: string, spans: number, told: (value: string | null) => boolean]>([
  [kept, 2, (value) => value !== kept && value?.slice(3, 35) === kept.slice(3, 35)],
  [unkept, 0, (value) => value === unkept],
  ["garbage", 0, (value) => value === "garbage"],
  ["00-00000000000000000000000000000000-0000000000000000-01", 0, (value) => value !== null],
])("a trace that the caller gives as a header decides: %s", async (traceparent, count, isTold) => {
  const told = await serveTold({ newTraces: 0 });
  const client = await connect(0);
  await client.get({}, { headers: { traceparent } });
  await recorded.spans(count, getName);
  expect(told.map(isTold)).toEqual([true]);
});

test("within a trace that is not kept handlers log the span that is active, which is the caller's", async () => {
  const logged: unknown[] = [];
  await serve(
    {
      get: () => {
        logged.push(logFields(), trace.getSpanContext(context.active()));
        return {};
      },
    },
    { newTraces: 0 },
  );
  const client = await connect(0);
  await within(TraceFlags.NONE, () => client.get({}));
  const [traceId, spanId] = ["0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"];
  expect(logged).toEqual([
    { trace_id: traceId, span_id: spanId, trace_flags: "00" },
    expect.objectContaining({ traceId, spanId }),
  ]);
});

test("within a span of an API without an SDK, a call is in no trace", async () => {
  const told = await serveTold({ newTraces: 0 });
  const client = await connect(0);
  const none = trace.wrapSpanContext(INVALID_SPAN_CONTEXT);
  await context.with(trace.setSpan(context.active(), none), () => client.get({}));
  await recorded.spans(0);
  expect(told).toEqual([null]);
});

test("without a context manager, as in a browser, a durable call decides once", async () => {
  const told: (string | null)[] = [];
  await serve(
    {
      do: (_, { requestHeader }) => {
        told.push(requestHeader.get("traceparent"));
        return {};
      },
      async *count(_, { requestHeader }) {
        told.push(requestHeader.get("traceparent"));
        yield {};
      },
    },
    { newTraces: 0 },
  );
  const client = await connect(0.5);
  context.disable();
  onTestFinished(() => {
    context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable());
  });
  const random = vi.spyOn(Math, "random");
  onTestFinished(() => random.mockRestore());
  const calls = [() => client.do({}), () => collect(client.count({ count: 1 }))];
  for (const call of calls) {
    // Whatever would be decided after the call itself.
    random.mockReturnValueOnce(0.75).mockReturnValue(0.25);
    await call();
  }
  await recorded.spans(0);
  expect(told).toEqual([expect.stringMatching(/-00$/), expect.stringMatching(/-00$/)]);
  for (const call of calls) {
    random.mockReturnValueOnce(0.25).mockReturnValue(0.75);
    await call();
  }
  const spans = await recorded.spans(6);
  const clients = spans.filter(({ kind }) => kind === SpanKind.CLIENT);
  const submissions = spans.filter(({ kind }) => kind === SpanKind.PRODUCER);
  const idsOf = (of: typeof spans) => of.map((span) => span.spanContext().spanId);
  expect(submissions.map(parentOf)).toEqual(idsOf(clients));
  const attempts = spans.filter(({ kind }) => kind === SpanKind.CONSUMER);
  expect(attempts.map(parentOf)).toEqual(idsOf(submissions));
});

test("a call of interceptors that is tried again has no span, nor have spans of the interceptors", async () => {
  const told: (string | null)[] = [];
  await serve(
    {
      get: (_, { requestHeader }) => {
        told.push(requestHeader.get("traceparent"));
        if (told.length === 1) {
          throw new ConnectError("busy", Code.Unavailable);
        }
        return {};
      },
    },
    { newTraces: 0 },
  );
  const observer = recorded.observer({ newTraces: 0 });
  const client = await nats.client({
    observer,
    interceptors: [
      createRetryInterceptor({ backoffMs: 1 }),
      (next) => (request) => {
        ownSpan(recorded, "work of an interceptor");
        return next(request);
      },
    ],
  });
  await client.get({});
  await recorded.spans(0);
  expect(told).toEqual([null, null]);
});

/** A sampler that keeps each span, whatever it hangs below, and counts them. */
function keepsAll() {
  const asked: string[] = [];
  const sampler = {
    shouldSample: (_: unknown, __: string, name: string) => {
      asked.push(name);
      return { decision: SamplingDecision.RECORD_AND_SAMPLED };
    },
  };
  return { asked, tracerProvider: new BasicTracerProvider({ sampler }) };
}

test("of calls without a trace the SDK is not asked, nor of their batch", async () => {
  const { asked, tracerProvider } = keepsAll();
  const active: (string | undefined)[] = [];
  const together = batched<string, string>(
    (texts) => {
      active.push(trace.getSpanContext(context.active())?.traceId);
      return texts;
    },
    { maxSize: 2, maxWaitMs: 60_000 },
  );
  await serve(
    { get: async ({ text }, call) => ({ text: await together(text, call) }) },
    { newTraces: 0, tracerProvider },
  );
  const client = await connect(0, { tracerProvider });
  await Promise.all([client.get({ text: "a" }), client.get({ text: "b" })]);
  expect([asked, active]).toEqual([[], [expect.stringMatching(/^[\da-f]{32}$/)]]);
  // One of a trace that is kept has the batch.
  await Promise.all([
    client.get({ text: "a" }),
    within(TraceFlags.SAMPLED, () => client.get({ text: "b" })),
  ]);
  expect(asked.sort()).toEqual(["batch test.v1.TestService/Get", getName, getName]);
  expect(active[1]).toBe(kept.slice(3, 35));
});

test("a propagator of one's own writes with a call that begins no trace", async () => {
  const propagator: TextMapPropagator = {
    inject: (_, carrier, { set }) => set(carrier, "x-tenant", "acme"),
    extract: (of) => of,
    fields: () => ["x-tenant"],
  };
  let tenant: string | null = null;
  await serve({
    get: (_, { requestHeader }) => {
      tenant = requestHeader.get("x-tenant");
      return {};
    },
  });
  await (await connect(0, { propagator })).get({});
  expect(tenant).toBe("acme");
});

test.each([undefined, 0, 1])(
  "a propagator that throws costs a header, and neither spans nor counts: newTraces %s",
  async (newTraces) => {
    const broken = () => {
      throw new Error("broken");
    };
    const propagator = { inject: broken, extract: broken, fields: () => [] };
    await serve({ get: () => ({}), do: () => ({}) }, { newTraces, propagator });
    const client = await nats.client({ observer: recorded.observer({ newTraces, propagator }) });
    await client.get({}, { headers: { traceparent: kept } });
    await client.do({});
    // CLIENT and SERVER; CLIENT, PRODUCER and CONSUMER.
    await recorded.spans(newTraces === 0 ? 0 : 5);
    for (const side of ["client", "server"]) {
      const points = await recorded.points(`rpc.${side}.call.duration`);
      expect(points.length).toBeGreaterThan(0);
    }
  },
);

test("ids of a trace that is not kept are valid, and tell a sampler that looks at them alone no more than others", () => {
  const contexts = Array.from({ length: 2_000 }, () => new UnsampledSpan().spanContext());
  expect(contexts.every(isSpanContextValid)).toBe(true);
  expect(new Set(contexts.map(({ traceId }) => traceId)).size).toBe(2_000);
  const half = new TraceIdRatioBasedSampler(0.5);
  const shareOf = (isKept: (traceId: string) => boolean) =>
    contexts.filter(({ traceId }) => isKept(traceId)).length / 2_000;
  const shares = [
    // JavaScript takes all parts; Go, Java and Python the right half; W3C level 1 knows the left, 2 the last 7 bytes.
    shareOf((id) => half.shouldSample(context.active(), id).decision !== 0),
    ...[0, 16, 18].map((at) => shareOf((id) => id.charCodeAt(at) < "8".charCodeAt(0))),
  ];
  for (const share of shares) {
    expect(share).toBeGreaterThan(0.4);
    expect(share).toBeLessThan(0.6);
  }
  for (const least of [0, 1 - 2 ** -53]) {
    const random = vi.spyOn(Math, "random").mockReturnValue(least);
    expect(isSpanContextValid(new UnsampledSpan().spanContext())).toBe(true);
    random.mockRestore();
  }
});

test.each<[unknown, string]>([
  [-0.1, "-0.1"],
  [1.1, "1.1"],
  [Number.NaN, "NaN"],
  // Of plain JavaScript: of a variable of the environment, say.
  ["0.01", '"0.01"'],
  ["", '""'],
  [null, "null"],
  [true, "true"],
  [[0.5], "0.5"],
])("%j is no share", (newTraces, shown) => {
  expect(() => recorded.observer({ newTraces } as TelemetryOptions)).toThrow(
    expect.objectContaining({
      code: Code.InvalidArgument,
      rawMessage: `newTraces is ${shown}, and must be a number from 0 to 1`,
    }),
  );
});

test("attempts are children or linked, and nothing else", () => {
  expect(() => recorded.observer({ attempts: "links" } as unknown as TelemetryOptions)).toThrow(
    expect.objectContaining({
      code: Code.InvalidArgument,
      rawMessage: 'attempts is "links", and must be "child" or "link"',
    }),
  );
});
