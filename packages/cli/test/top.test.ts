import { expect, test } from "vitest";
import { firstOf, tableFor } from "../src/commands/top.js";

const rows = ["ExtractText", "Split"].map((method) => ({
  ...{ service: "pdf.v1.PdfService", method, paused: false },
  ...{ queued: 7, running: 2, workers: 1, scheduled: 0, dead: 3, oldestMs: 4_000 },
  ...{ acceptedPerSecond: 1, endedPerSecond: 1, failedPerSecond: 0 },
}));

test.each([
  [120, ["pdf.v1.PdfService.Split", "LATER", "FAIL/S", "WORKERS"]],
  [80, ["Split", "FAIL/S", "WORKERS"]],
  [40, ["ExtractText", "QUEUED", "RUNNING", "DEAD"]],
  [20, ["ExtractText", "QUEUED"]],
  [10, ["…"]],
])("a table of %i columns shows what counts most, and no line is longer", (width, texts) => {
  const lines = tableFor(rows, width);
  expect(lines).toHaveLength(3);
  expect(Math.max(...lines.map((line) => line.length))).toBeLessThanOrEqual(width);
  for (const text of texts) {
    expect(lines.join("\n")).toContain(text);
  }
});

test("of a long name the end is shown, beside what counts", () => {
  const method = `${"Quite".repeat(12)}Split`;
  const lines = tableFor([{ ...(rows[0] as (typeof rows)[number]), method }], 60);
  expect(Math.max(...lines.map((line) => line.length))).toBeLessThanOrEqual(60);
  expect(lines[0]).toMatch(/QUEUED +RUNNING +DEAD/);
  expect(lines[1]).toMatch(/^….*QuiteSplit +7 +2 +3/);
});

test("a screen tells how many lines it has no room for", () => {
  const lines = ["a", "b", "c", "d"];
  expect(firstOf(lines, 4, 80)).toEqual(lines);
  expect(firstOf(lines, 3, 80)).toEqual(["a", "b", "2 more, for a taller terminal"]);
  expect(firstOf(lines, 1, 6)).toEqual(["4 more"]);
});
