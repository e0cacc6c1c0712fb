import { expect, test } from "vitest";
import { tableFor } from "../src/commands/top.js";

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
