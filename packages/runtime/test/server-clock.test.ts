import { afterEach, expect, test, vi } from "vitest";
import { ServerClock } from "../src/link/server-clock.js";

const hourMs = 3_600_000;
const realNow = Date.now.bind(Date);

afterEach(() => vi.restoreAllMocks());

/** Sets the clock of this process, but not the one that only goes on. */
function setClock(ms: number): void {
  vi.spyOn(Date, "now").mockImplementation(() => realNow() + ms);
}

/** By how much the clock says that the server is ahead, as both of its answers have it. */
function aheadOf(clock: ServerClock): number[] {
  const now = Date.now();
  const round = (ms: number) => Math.round(ms / 60_000) * 60_000 + 0;
  return [round(clock.nowMs - now), round(now - clock.toOwn(now))];
}

test("a server that refuses is asked once", async () => {
  const clock = new ServerClock();
  const ask = vi.fn(() => Promise.reject(new Error("denied")));
  await clock.refresh(Date.now(), ask);
  await clock.refresh(Date.now(), ask);
  expect(ask).toHaveBeenCalledTimes(1);
  expect(aheadOf(clock)).toEqual([0, 0]);
});

test("all that come while it is asked wait for one answer", async () => {
  const clock = new ServerClock();
  let answer: (ms: number) => void = () => undefined;
  const ask = vi.fn(() => new Promise<number>((resolve) => (answer = resolve)));
  const all = Promise.all(
    Array.from({ length: 5 }, async () => {
      await clock.refresh(Date.now(), ask);
      return aheadOf(clock);
    }),
  );
  answer(Date.now() + hourMs);
  expect(await all).toEqual(Array.from({ length: 5 }, () => [hourMs, hourMs]));
  expect(ask).toHaveBeenCalledTimes(1);
});

test.each([hourMs, -hourMs])(
  "when this process's clock is set by %i ms, what was learned is forgotten, and asked anew",
  async (by) => {
    const clock = new ServerClock();
    clock.learn(Date.now() + 2 * hourMs, Date.now());
    expect(aheadOf(clock)).toEqual([2 * hourMs, 2 * hourMs]);
    setClock(by);
    expect(aheadOf(clock)).toEqual([0, 0]);
    await clock.refresh(Date.now(), async () => realNow() + 2 * hourMs);
    expect(aheadOf(clock)).toEqual([2 * hourMs - by, 2 * hourMs - by]);
  },
);

test.each([hourMs, -hourMs])(
  "an answer that came while the clock was set by %i ms teaches nothing, and does not keep from asking",
  async (by) => {
    const clock = new ServerClock();
    await clock.refresh(Date.now(), async () => {
      const serverMs = realNow();
      setClock(by);
      return serverMs;
    });
    expect(aheadOf(clock)).toEqual([0, 0]);
    await clock.refresh(Date.now(), async () => realNow());
    expect(aheadOf(clock)).toEqual([-by, -by]);
  },
);

test("a deadline counts on what is known for ten minutes, and then on this process's clock", () => {
  const clock = new ServerClock();
  clock.learn(Date.now() + hourMs, Date.now());
  const passed = performance.now.bind(performance);
  const now = Date.now.bind(Date);
  vi.spyOn(performance, "now").mockImplementation(() => passed() + 600_001);
  vi.spyOn(Date, "now").mockImplementation(() => now() + 600_001);
  expect(aheadOf(clock)).toEqual([0, hourMs]);
});
