import { expect, test } from "vitest";
import { Totals } from "../src/metrics/totals.js";

/** Totals of what a server tells of one source, one after the other. */
function totalsOf(...told: [created: string | undefined, count: number][]): number[] {
  const totals = new Totals();
  return told.map(([created, count]) => totals.of("S c", created, count));
}

// elasticsearch_exporter#327: a rate of thousands a second, each time that a count fell by few.
test("a server that has forgotten the last deliveries does not make a total fall", () => {
  expect(totalsOf(["a", 398], ["a", 400], ["a", 392], ["a", 399], ["a", 405])).toEqual([
    398, 400, 400, 400, 405,
  ]);
});

test("what is made again goes on where the one before it was", () => {
  expect(totalsOf(["a", 400], [undefined, 0], ["b", 0], ["b", 7], ["c", 1])).toEqual([
    400, 400, 400, 407, 408,
  ]);
});

test("what was missing at first is counted from its first delivery", () => {
  expect(totalsOf([undefined, 0], ["a", 3])).toEqual([0, 3]);
});
