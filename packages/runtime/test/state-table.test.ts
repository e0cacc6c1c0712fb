import { expect, test } from "vitest";
import { readTable } from "./docs-table.js";
import { scenarios } from "./edges.js";

const table = readTable("durable-calls.md", "States");

test("the state table has the edges that are tested, and no others", () => {
  const tested = scenarios.map(({ edge, from = "none", to }) => `${edge}: ${from} -> ${to}`);
  const told = table.map((row) => `${row["test"]}: ${row["from"]} -> ${row["to"]}`);
  expect(told.length).toBe(new Set(told).size);
  expect(told.sort()).toEqual([...new Set(tested)].sort());
});

test.each(scenarios.map((scenario) => [scenario.edge, scenario] as const))(
  "the states that status() shows along `%s` are those of the edge, or of none",
  (_edge, { from, to, steps }) => {
    for (const state of steps.flatMap(({ states = [] }) => states)) {
      expect([from, to, undefined]).toContain(state);
    }
  },
);

test.each(table.map((row) => [row["test"] ?? "", row] as const))(
  "the log entry of `%s` is as the state table says",
  (edge, row) => {
    const logs = scenarios
      .filter((scenario) => scenario.edge === edge)
      .flatMap(({ log, steps }) => [
        log,
        ...steps.flatMap(({ before = "", after = "" }) => [before, after]),
      ])
      .filter((log) => log.includes(" "))
      // The claim of an attempt is left out in tests.
      .map((log) => log.replace(/(attempt \d+)/g, "$1 r d"));
    const told = [...(row["log entry"] ?? "").matchAll(/`(.*?)`/g)].map(([, entry = ""]) => entry);
    for (const entry of told) {
      const pattern = new RegExp(`(^|, )${entry.replace(" n", " \\d+")}(, |$)`);
      expect(logs.filter((log) => pattern.test(log))).not.toEqual([]);
    }
    // What ends a call, or fails an attempt, says so.
    const isNoted = !["queued", "scheduled"].includes(row["to"] ?? "") || edge === "given back";
    expect(told.length > 0).toBe(isNoted);
  },
);
