import { setTimeout as pause } from "node:timers/promises";
import { Code } from "@jetrpc/runtime";
import { afterEach, expect, test, vi } from "vitest";
import { collect, failureOf, submittedInTime } from "../../runtime/test/support.js";
import { Metric } from "../src/conventions.js";
import { useTracedService } from "./traced-service.js";

const traced = useTracedService();
const { recorded, connect } = traced;
const hourMs = 3_600_000;

afterEach(() => vi.restoreAllMocks());

/** The clock of this process, with its clients and workers, differs from that of the server. */
function skewBy(ms: number): void {
  const now = Date.now.bind(Date);
  vi.spyOn(Date, "now").mockImplementation(() => now() + ms);
}

/** The sum of a duration's values, once there are so many. */
async function sumOf(metric: string, count: number): Promise<number> {
  const read = () => recorded.points(metric);
  await expect
    .poll(async () => (await read()).reduce((sum, point) => sum + point.count, 0), {
      timeout: 60_000,
    })
    .toBe(count);
  return (await read()).reduce((sum, { value }) => sum + value, 0);
}

/** On average not more than all that has passed, nor less than what was waited for. */
async function expectDuration(metric: string, count: number, leastMs: number, beganAt: number) {
  const ms = ((await sumOf(metric, count)) / count) * 1000;
  expect(ms, metric).toBeGreaterThanOrEqual(leastMs - 50);
  expect(ms, metric).toBeLessThanOrEqual(performance.now() - beganAt + 50);
}

const serve = () =>
  traced.serve({
    do: () => ({}),
    async *count() {
      yield {};
    },
  });

test.each([
  ["ahead of", hourMs],
  ["behind", -hourMs],
])("a clock that is %s the server's: durations of durable calls are right", async (_, skew) => {
  skewBy(skew);
  const client = await connect();
  const waitMs = 700;
  const beganAt = performance.now();
  // The time of a call is that of the server, too: it is not over before it has begun.
  const unary = await client.do.submit({}, { timeoutMs: 60_000 });
  const streaming = await client.count.submit({}, { timeoutMs: 60_000 });
  await pause(waitMs);
  await serve();
  await unary.result();
  await collect(streaming);
  await expectDuration(Metric.queueDuration, 2, waitMs, beganAt);
  await expectDuration(Metric.callDuration, 2, waitMs, beganAt);
  // Those of one process do not look at the time of day.
  expect(await sumOf(Metric.processDuration, 2)).toBeLessThan(60);
  expect(await sumOf(Metric.operationDuration, 2)).toBeLessThan(60);
});

test.each([
  ["ahead of", hourMs],
  ["behind", -hourMs],
])("a client whose clock is %s the server's: so is that of a call it cancels", async (_, skew) => {
  skewBy(skew);
  const client = await connect();
  const waitMs = 700;
  const beganAt = performance.now();
  const call = await client.do.submit({});
  await pause(waitMs);
  await call.cancel();
  await expectDuration(Metric.callDuration, 1, waitMs, beganAt);
});

test.each([hourMs, -hourMs])(
  "a clock that is set by %i ms meanwhile: so are the next ones",
  async (skew) => {
    const client = await connect();
    const beganAt = performance.now();
    const first = await client.do.submit({});
    await first.cancel();
    await sumOf(Metric.callDuration, 1);
    skewBy(skew);
    const second = await client.do.submit({});
    await second.cancel();
    await expectDuration(Metric.callDuration, 2, 0, beganAt);
  },
);

test("a call ends in time at a worker whose clock is behind the server's", async () => {
  skewBy(-hourMs);
  const client = await connect();
  const call = await submittedInTime(() => client.do.submit({}, { timeoutMs: 500 }));
  await pause(700);
  await serve();
  expect((await failureOf(call.result())).code).toBe(Code.DeadlineExceeded);
  await sumOf(Metric.callDuration, 1);
  const ended = await recorded.points(Metric.callsEnded);
  expect(ended.map(({ attributes }) => attributes["outcome"])).toEqual(["expired"]);
});
