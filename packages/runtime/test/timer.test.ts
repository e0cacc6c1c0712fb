import { afterEach, expect, test, vi } from "vitest";
import { startTimer } from "../src/link/timer.js";
import { gate, useNats } from "./support.js";

const nats = useNats();
const month = 30 * 24 * 60 * 60 * 1_000;

afterEach(() => {
  vi.useRealTimers();
});

test("a timer runs for longer than setTimeout can, and can be stopped", () => {
  vi.useFakeTimers();
  const done = vi.fn();
  startTimer(done, month);
  const stop = startTimer(done, month);
  startTimer(done, Number.POSITIVE_INFINITY);
  vi.advanceTimersByTime(month - 1);
  expect(done).not.toHaveBeenCalled();
  stop();
  vi.advanceTimersByTime(1);
  expect(done).toHaveBeenCalledTimes(1);
  vi.advanceTimersByTime(10 * month);
  expect(done).toHaveBeenCalledTimes(1);
});

test.each([month, Number.POSITIVE_INFINITY])("a call may have %d ms", async (timeoutMs) => {
  const asked = gate();
  await nats.worker({
    get: async (_request, { signal }) => {
      await new Promise((resolve) => setTimeout(resolve, 100));
      return { text: signal.aborted ? "stopped" : "done" };
    },
    do: async () => {
      await asked.opened;
      return { text: "done" };
    },
    async *down(_request, { signal }) {
      await new Promise((resolve) => setTimeout(resolve, 100));
      yield { text: signal.aborted ? "stopped" : "done" };
    },
  });
  const client = await nats.client();
  const done = { text: "done" };
  const plain = client.do({}, { timeoutMs });
  const waiting = (await client.do.submit({})).result({ timeoutMs });
  // These take a while: a timer that cannot count so far has ended those by then.
  expect(await client.get({}, { timeoutMs })).toMatchObject(done);
  for await (const message of client.down({}, { timeoutMs })) {
    expect(message).toMatchObject(done);
  }
  asked.open();
  expect(await plain).toMatchObject(done);
  expect(await waiting).toMatchObject(done);
});
