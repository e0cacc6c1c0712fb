import { expect, test } from "vitest";
import { columns, type Entry, Ring } from "../src/ring.js";
import { WorkDone } from "../src/work-done.js";

const entry = (at: number): Entry =>
  ({
    ...Object.fromEntries(columns.map((column) => [column, Number.NaN])),
    at,
    queued: at * 2,
  }) as Entry;

test("a ring has the last entries, the oldest first, and grows no further", () => {
  const ring = new Ring(3);
  expect(ring.read().at).toEqual([]);
  const numbers = (ring as unknown as { numbers: Float64Array }).numbers;
  for (let at = 1; at <= 10_000; at++) {
    ring.push(entry(at));
  }
  expect(ring.length).toBe(3);
  expect(ring.read().at).toEqual([9_998, 9_999, 10_000]);
  expect(ring.read().queued).toEqual([19_996, 19_998, 20_000]);
  expect(ring.read().duration).toEqual([Number.NaN, Number.NaN, Number.NaN]);
  expect((ring as unknown as { numbers: Float64Array }).numbers).toBe(numbers);
  expect(numbers.length).toBe(3 * columns.length);
});

const worker = (id: string, calls: number, started: number) => ({
  service: "a.v1.S",
  id,
  version: "1",
  status: "SERVING",
  started: new Date(started).toISOString(),
  methods: [{ name: "Do", running: 0, slots: 1, calls, errors: 0, averageMs: 10 }],
});

test("work is what was done since: of old workers, of new ones, and of those that did not answer", () => {
  const work = new WorkDone();
  const handled = (workers: ReturnType<typeof worker>[], nowMs: number) =>
    work.since(workers, nowMs).get("a.v1.S/Do")?.handled;
  expect(handled([worker("a", 100, 0)], 1_000)).toBe(0);
  expect(handled([worker("a", 103, 0)], 2_000)).toBe(3);
  // It has come since, and did all of it in this time.
  expect(handled([worker("a", 103, 0), worker("b", 7, 2_500)], 3_000)).toBe(7);
  // One that was there before and answers only now did it who knows when.
  expect(handled([worker("a", 103, 0), worker("c", 1_000, 0)], 4_000)).toBe(0);
  // b did not answer once.
  expect(handled([worker("a", 103, 0), worker("b", 9, 2_500)], 5_000)).toBe(2);
  expect(work.since([worker("a", 105, 0)], 6_000).get("a.v1.S/Do")).toMatchObject({ totalMs: 20 });
  // It began at 5,500, and a busy machine was late with its first answer.
  expect(handled([worker("a", 105, 0), worker("d", 5, 5_500)], 7_000)).toBe(5);
  // One that was forgotten meanwhile did it who knows when.
  for (let nowMs = 8_000; nowMs < 16_000; nowMs += 1_000) {
    expect(handled([worker("a", 105, 0)], nowMs)).toBe(0);
  }
  expect(handled([worker("a", 105, 0), worker("d", 50, 5_500)], 16_000)).toBe(0);
});
