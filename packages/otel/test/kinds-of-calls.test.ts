import { spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { Code, ConnectError, type HandlerContext, startWorker } from "@jetrpc/runtime";
import { createOperator } from "@jetrpc/runtime/operator";
import {
  context,
  createTraceState,
  type SpanContext,
  SpanKind,
  SpanStatusCode,
  trace,
} from "@opentelemetry/api";
import type { ReadableSpan } from "@opentelemetry/sdk-trace-base";
import { expect, test } from "vitest";
import { TestService } from "../../runtime/test/gen/test/v1/test_pb.js";
import { collect, failureOf, type TestClient, until, useNats } from "../../runtime/test/support.js";
import { Metric } from "../src/conventions.js";
import { observeQueues } from "../src/index.js";
import { ids, parentOf, useTelemetry } from "./recorded.js";

const nats = useNats();
const recorded = useTelemetry();

/** One kind of calls, and all that is told of one call of it. */
interface Kind {
  readonly name: string;
  readonly method: "get" | "down" | "do" | "count";
  /** Makes the call, and waits for its end. */
  make(of: Scene): Promise<unknown>;
  /** Its worker is started by {@link make}, or not at all. */
  readonly servesLater?: true;
  /** Throws in the attempts that fail. */
  readonly handle?: (attempt: number) => unknown;
  /** Lines of spans, as a tree. */
  readonly trace: string;
  /** How many values each metric has, by the metric and what tells them apart. */
  readonly metrics: Readonly<Record<string, number>>;
  /** Slots, and calls in the queue, while the last attempt runs. */
  readonly slots?: Readonly<Record<string, number>>;
}

/** What a kind of calls is made of. */
interface Scene {
  readonly client: TestClient;
  /** Serves the method; the clock of what is bounded begins. */
  serve(): Promise<unknown>;
  /** From here on a call may wait: earlier times do not count. */
  restartClock(): void;
}

const oneSubmission = { "messaging.client.operation.duration": 1 };
const oneEnd = (outcome: string) => ({
  [`jetrpc.call.duration ${outcome}`]: 1,
  [`jetrpc.calls.ended ${outcome}`]: 1,
});
const oneAttempt = {
  ...oneSubmission,
  "messaging.process.duration": 1,
  "jetrpc.call.queue.duration": 1,
};
const waitedFor = { "rpc.client.call.duration OK": 1 };
const running = { used: 1, free: 9, running: 1, queued: 0 };
const busy = (attempt: number) => {
  if (attempt < 3) {
    throw new ConnectError("busy", Code.Unavailable);
  }
};
const retried = {
  ...waitedFor,
  ...oneSubmission,
  ...oneEnd("succeeded"),
  "messaging.process.duration": 1,
  "messaging.process.duration UNAVAILABLE": 2,
  "jetrpc.call.queue.duration": 1,
};
const takenOver = {
  ...oneSubmission,
  ...oneEnd("succeeded"),
  // The worker that was killed has told of the wait in the queue.
  "messaging.process.duration": 1,
};

const kinds: readonly Kind[] = [
  {
    name: "direct",
    method: "get",
    make: ({ client }) => client.get({}),
    trace: `
      CLIENT Get OK
        SERVER Get OK
          step`,
    metrics: { ...waitedFor, "rpc.server.call.duration OK": 1 },
    slots: { used: 1 },
  },
  {
    name: "direct, streamed",
    method: "down",
    make: ({ client }) => collect(client.down({})),
    trace: `
      CLIENT Down OK
        SERVER Down OK
          step
          step
          step`,
    metrics: { ...waitedFor, "rpc.server.call.duration OK": 1 },
    slots: { used: 1 },
  },
  {
    name: "direct, failed",
    method: "get",
    make: ({ client }) => failureOf(client.get({})),
    handle: () => {
      throw new ConnectError("broken", Code.DataLoss);
    },
    trace: `
      CLIENT Get DATA_LOSS error
        SERVER Get DATA_LOSS error
          step`,
    metrics: { "rpc.client.call.duration DATA_LOSS": 1, "rpc.server.call.duration DATA_LOSS": 1 },
    slots: { used: 1 },
  },
  {
    name: "durable",
    method: "do",
    make: ({ client }) => client.do({}),
    trace: `
      CLIENT Do OK
        PRODUCER submit Do
          CONSUMER process Do 1 succeeded after submit
            step`,
    metrics: { ...waitedFor, ...oneAttempt, ...oneEnd("succeeded") },
    slots: running,
  },
  {
    name: "durable, submitted and come back to",
    method: "do",
    make: async ({ client }) => {
      const { id } = await client.do.submit({});
      await client.do.attach(id).result();
    },
    trace: `
      PRODUCER submit Do
        CONSUMER process Do 1 succeeded after submit
          step`,
    metrics: { ...oneAttempt, ...oneEnd("succeeded") },
    slots: running,
  },
  {
    name: "durable, streamed",
    method: "count",
    make: ({ client }) => collect(client.count({})),
    trace: `
      CLIENT Count OK
        PRODUCER submit Count
          CONSUMER process Count 1 succeeded after submit
            step
            step
            step`,
    metrics: { ...waitedFor, ...oneAttempt, ...oneEnd("succeeded") },
    slots: running,
  },
  {
    name: "retried",
    method: "do",
    make: ({ client }) => client.do({}),
    handle: busy,
    trace: `
      CLIENT Do OK
        PRODUCER submit Do
          CONSUMER process Do 1 retry UNAVAILABLE error after submit
            step
          CONSUMER process Do 2 retry UNAVAILABLE error after submit, attempt 1
            step
          CONSUMER process Do 3 succeeded after submit, attempt 2
            step`,
    metrics: retried,
    slots: running,
  },
  {
    name: "retried, streamed",
    method: "count",
    make: ({ client }) => collect(client.count({})),
    handle: busy,
    trace: `
      CLIENT Count OK
        PRODUCER submit Count
          CONSUMER process Count 1 retry UNAVAILABLE error after submit
            step
            step
          CONSUMER process Count 2 retry UNAVAILABLE error after submit, attempt 1
            step
            step
          CONSUMER process Count 3 succeeded after submit, attempt 2
            step
            step
            step`,
    metrics: retried,
    slots: running,
  },
  {
    name: "failed, and replayed",
    method: "do",
    make: async ({ client, restartClock }) => {
      ids.push("again");
      const call = await client.do.submit({}, { callId: "again" });
      await failureOf(call.result());
      await until(async () => (await told())["jetrpc.calls.ended failed"] === 1);
      const operator = createOperator(await nats.connect({ as: "operator" }), TestService);
      await until(async () => {
        for await (const letter of operator.deadLetters({ callId: "again" })) {
          restartClock();
          await letter.replay();
          return true;
        }
        return false;
      });
      await client.do.attach("again").result();
    },
    handle: (() => {
      let calls = 0;
      return () => {
        calls += 1;
        if (calls === 1) {
          throw new ConnectError("no", Code.InvalidArgument);
        }
      };
    })(),
    trace: `
      PRODUCER submit Do
        CONSUMER process Do 1 failed INVALID_ARGUMENT error after submit
          step
        CONSUMER process Do 1 succeeded after submit
          step`,
    metrics: {
      ...oneSubmission,
      ...oneEnd("failed"),
      ...oneEnd("succeeded"),
      "messaging.process.duration": 1,
      "messaging.process.duration INVALID_ARGUMENT": 1,
      // It waits in its queue once more.
      "jetrpc.call.queue.duration": 2,
    },
    slots: running,
  },
  {
    name: "delayed",
    method: "do",
    make: async ({ client, restartClock }) => {
      const notBefore = new Date(Date.now() + 1_000);
      const call = await client.do.submit({}, { notBefore });
      await new Promise((resolve) => setTimeout(resolve, notBefore.getTime() - Date.now()));
      restartClock();
      await call.result();
    },
    trace: `
      PRODUCER submit Do
        CONSUMER process Do 1 succeeded after submit
          step`,
    metrics: { ...oneAttempt, ...oneEnd("succeeded") },
    slots: running,
  },
  {
    name: "canceled in its queue",
    method: "do",
    servesLater: true,
    make: async ({ client }) => {
      const call = await client.do.submit({});
      await call.cancel();
    },
    trace: `
      PRODUCER submit Do`,
    metrics: { ...oneSubmission, ...oneEnd("cancelled") },
  },
  ...(["do", "count"] as const).map((method): Kind => {
    const name = method === "do" ? "Do" : "Count";
    const steps = method === "do" ? ["step"] : ["step", "step", "step"];
    return {
      name: `taken over: ${method}`,
      method,
      servesLater: true,
      make: async ({ client, serve, restartClock }) => {
        const doomed = await startDoomedWorker();
        restartClock();
        const call = await client[method].submit({});
        await until(() => doomed.heard.length === 2);
        lost = JSON.parse(doomed.heard[1] as string) as typeof lost;
        await doomed.kill();
        await serve();
        await ("result" in call ? call.result() : collect(call));
      },
      trace: `
      PRODUCER submit ${name}
        CONSUMER process ${name} 2 succeeded after submit, attempt of the killed
          ${steps.join("\n          ")}`,
      metrics: takenOver,
      slots: running,
    };
  }),
];

/** The attempt of a worker that was killed. */
let lost: { traceId: string; spanId: string } | undefined;

test.each(kinds)("$name", async ({ method, make, handle, servesLater, ...expected }) => {
  const rpcMethod = `test.v1.TestService/${method.replace(/^./, (first) => first.toUpperCase())}`;
  const seen: (string | null)[] = [];
  let slots: Record<string, number> = {};
  const step = async ({ requestHeader }: HandlerContext) => {
    recorded.tracers.getTracer("app").startSpan("step").end();
    seen.push(requestHeader.get("tracestate"));
    slots = await slotsOf(rpcMethod);
  };
  const attemptOf = (given: HandlerContext) => ("attempt" in given ? Number(given.attempt) : 1);
  async function* three(_: unknown, given: HandlerContext) {
    await step(given);
    yield { index: 0 };
    await step(given);
    handle?.(attemptOf(given));
    yield { index: 1 };
    await step(given);
    yield { index: 2 };
  }
  const one = async (_: unknown, given: HandlerContext) => {
    await step(given);
    handle?.(attemptOf(given));
    return {};
  };
  const serve = async () => {
    const connection = await nats.connect({ as: "worker", observer: recorded.observer() });
    const isStreamed = method === "down" || method === "count";
    await startWorker(TestService, { [method]: isStreamed ? three : one }, connection, {
      drainTimeoutMs: 1_000,
      logger: () => undefined,
    });
  };
  if (!servesLater) {
    await serve();
  }
  const client = await nats.client({ observer: recorded.observer() });
  const observing = await nats.connect({ as: "observer" });
  const stop = observeQueues(observing, [TestService], { meterProvider: recorded.meters });

  const app = recorded.tracers.getTracer("app").startSpan("app");
  const traceState = createTraceState("vendor=ours");
  const parent = trace.wrapSpanContext({ ...app.spanContext(), traceState });
  let beganAt = Date.now();
  const restartClock = () => {
    beganAt = Date.now();
  };
  await context.with(trace.setSpan(context.active(), parent), () =>
    make({ client, serve, restartClock }),
  );
  app.end();
  // A caller may hear of the end before its worker has told of it.
  await until(async () => Object.keys(await told()).length >= Object.keys(expected.metrics).length);
  const seconds = (Date.now() - beganAt) / 1000;
  const spans = await recorded.spans(expected.trace.trim().split("\n").length + 1);
  expect(toTree(spans, app)).toEqual(expected.trace.replaceAll(/^ {6}/gm, "").trim());
  expect(await told()).toEqual(expected.metrics);
  expect(slots).toEqual(expected.slots ?? {});
  stop();

  expect(new Set(spans.map((span) => span.spanContext().traceId)).size).toBe(1);
  // It has travelled with the request, whatever became of that.
  expect(new Set(seen)).toEqual(new Set(expected.slots && ["vendor=ours"]));
  // Times count from when the call was accepted, or was due, or was replayed.
  for (const metric of [Metric.queueDuration, Metric.callDuration]) {
    const last = (await recorded.points(metric)).at(-1);
    if (last?.count === 1) {
      expect(last.value, metric).toBeGreaterThanOrEqual(0);
      expect(last.value, metric).toBeLessThanOrEqual(seconds + 0.005);
    }
  }
});

/** Metrics of calls, which workers and clients count. */
const ofCalls = Object.values(Metric).filter(
  (name) => ![Metric.workerSlots, Metric.queueCalls, Metric.reconnects].includes(name as never),
);

/** How many values each metric has, by what tells calls apart that have gone different ways. */
async function told(): Promise<Record<string, number>> {
  const counts: Record<string, number> = {};
  for (const metric of ofCalls) {
    for (const { attributes, count, value } of await recorded.points(metric)) {
      const { outcome, "rpc.status_code": code, "error.type": error } = attributes;
      const name = [metric, outcome ?? code ?? error].filter(Boolean).join(" ");
      counts[name] = metric === Metric.callsEnded ? value : count;
    }
  }
  return counts;
}

/** Slots of a method that are used and free, and its calls that run and wait. */
async function slotsOf(rpcMethod: string): Promise<Record<string, number>> {
  const points = [
    ...(await recorded.points(Metric.workerSlots)),
    ...(await recorded.points(Metric.queueCalls)),
  ];
  return Object.fromEntries(
    points
      .filter(({ attributes }) => attributes["rpc.method"] === rpcMethod)
      .map(({ attributes, value }) => [attributes["state"], value]),
  );
}

/** The spans below one, a line each: what it is, how it ended, and where its links lead. */
function toTree(spans: readonly ReadableSpan[], root: { spanContext(): SpanContext }): string {
  const nameOf = (id: string) => {
    const span = spans.find((each) => each.spanContext().spanId === id);
    const attempt = span?.attributes["jetrpc.attempt"] ?? (lost?.spanId === id && "of the killed");
    return attempt ? `attempt ${attempt}` : span?.name.split(" ")[0];
  };
  const toLine = ({ kind, name, attributes, status, links }: ReadableSpan) => {
    const parts = [
      kind !== SpanKind.INTERNAL && SpanKind[kind],
      name.replaceAll(/test\.v1\.TestService(\.queue\.|\/)/g, ""),
      attributes["rpc.status_code"],
      attributes["jetrpc.attempt"],
      attributes["jetrpc.attempt.outcome"],
      attributes["rpc.status_code"] === undefined && attributes["error.type"],
      status.code === SpanStatusCode.ERROR && "error",
    ];
    const after = links.map((link) => {
      const to = nameOf(link.context.spanId);
      return `${link.attributes?.["jetrpc.link"] === to?.split(" ")[0] ? to : "wrong"}`;
    });
    return [parts.filter(Boolean).join(" "), after.join(", ")].filter(Boolean).join(" after ");
  };
  const below = (id: string): string[] =>
    spans
      .filter((span) => parentOf(span) === id)
      .flatMap((span) => [
        toLine(span),
        ...below(span.spanContext().spanId).map((line) => `  ${line}`),
      ]);
  return below(root.spanContext().spanId).join("\n");
}

/** A process that serves `do` and `count`, and never ends them. */
async function startDoomedWorker() {
  const child = spawn(process.execPath, [join(import.meta.dirname, "worker-process.mjs")], {
    env: { ...process.env, ...nats.environment("worker") },
    stdio: ["pipe", "pipe", "inherit"],
  });
  const heard: string[] = [];
  createInterface({ input: child.stdout }).on("line", (line) => heard.push(line));
  await until(() => heard.includes("ready"));
  return {
    heard,
    async kill() {
      const gone = once(child, "exit");
      child.kill("SIGKILL");
      await gone;
    },
  };
}

test("a request that is withdrawn, and what takes its place, keep their trace", async () => {
  const client = await nats.client({ observer: recorded.observer() });
  // Makes the streams: they are missed where nobody listens.
  await client.count.submit({});
  const root = await nats.connect();
  const stored = root.nats.subscribe("test.v1.TestService.queue.Do.>");
  await root.nats.flush();
  const call = await client.do.submit({});
  await call.cancel();
  const [, submit] = await recorded.spans(2);
  const seen: unknown[] = [];
  for await (const { headers } of stored) {
    seen.push([headers?.get("Jetrpc-Withdrawn"), headers?.get("traceparent")]);
    if (seen.length === 3) {
      break;
    }
  }
  const { traceId, spanId } = (submit as ReadableSpan).spanContext();
  const traceparent = `00-${traceId}-${spanId}-01`;
  expect(seen).toEqual([
    ["", traceparent],
    ["cancelled", traceparent],
    ["cancelled", traceparent],
  ]);
});
