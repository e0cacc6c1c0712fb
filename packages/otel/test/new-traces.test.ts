import { Code, ConnectError, startWorker } from "@jetrpc/runtime";
import { context, propagation, SpanKind, TraceFlags, trace } from "@opentelemetry/api";
import {
  CompositePropagator,
  W3CBaggagePropagator,
  W3CTraceContextPropagator,
} from "@opentelemetry/core";
import { expect, onTestFinished, test, vi } from "vitest";
import { TestService } from "../../runtime/test/gen/test/v1/test_pb.js";
import { collect, failureOf, type TestImpl, until, useNats } from "../../runtime/test/support.js";
import { logFields, type TelemetryOptions } from "../src/index.js";
import { ownSpan, parentOf, useTelemetry } from "./recorded.js";

const nats = useNats();
const recorded = useTelemetry();

const getName = "test.v1.TestService/Get";
const doQueue = "test.v1.TestService.queue.Do";

async function serve(impl: TestImpl, options?: TelemetryOptions) {
  const connection = await nats.connect({ as: "worker", observer: recorded.observer(options) });
  await startWorker(TestService, impl, connection, { drainTimeoutMs: 1_000 });
}

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

async function connect(newTraces: number, options?: TelemetryOptions) {
  return await nats.client({ observer: recorded.observer({ newTraces, ...options }) });
}

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
  await serve(
    {
      get: () => {
        baggage = propagation.getActiveBaggage()?.getEntry("tenant")?.value;
        return {};
      },
    },
    { newTraces: 0, propagator },
  );
  const client = await connect(0, { propagator });
  const given = propagation.createBaggage({ tenant: { value: "acme" } });
  await context.with(propagation.setBaggage(context.active(), given), () => client.get({}));
  expect(baggage).toBe("acme");
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

test.each([-0.1, 1.1, Number.NaN])("%s is no share", (newTraces) => {
  expect(() => recorded.observer({ newTraces })).toThrow(
    expect.objectContaining({
      code: Code.InvalidArgument,
      rawMessage: `newTraces is ${newTraces}, and must be a number from 0 to 1`,
    }),
  );
});
