import { expect, test } from "vitest";
import { tableOf } from "../src/output.js";

const callId = "oJm5eDxbJRWJpGEzThtdWF.0";
const titles = ["AT", "STATE", "METHOD", "OWNER", "CALL ID", "ATTEMPTS", "ERROR"];
const row = [
  ...["2026-11-27T07:58:22.481Z", "failed", "shop.v1.ShopService.Order", "_", callId, "1"],
  "invalid_argument: there is no such thing in the shop",
];

test("a narrow table shows ids of calls whole as long as it can, and no line is longer", () => {
  for (const [width, id] of [
    [200, callId],
    [80, callId],
    [62, callId],
    [40, /^.*oJm.*…/],
    [10, /^/],
  ] as const) {
    const lines = tableOf(titles, [row], width);
    expect(lines).toHaveLength(2);
    expect(Math.max(...lines.map((line) => line.length))).toBeLessThanOrEqual(width);
    expect(lines[1]).toMatch(id);
  }
});

test("a table may have more rows than a function takes arguments", () => {
  const rows = Array.from({ length: 200_000 }, (_, index) => [`${index}`]);
  expect(tableOf(["NUMBER"], rows)).toHaveLength(200_001);
});
