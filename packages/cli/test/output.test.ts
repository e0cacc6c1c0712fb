import { PassThrough } from "node:stream";
import { expect, test } from "vitest";
import { ProgressBar } from "../src/call/progress-bar.js";
import { runOn } from "../src/host.js";
import { fitTable, tableOf } from "../src/output.js";

const callId = "oJm5eDxbJRWJpGEzThtdWF.0";
const titles = ["AT", "STATE", "METHOD", "OWNER", "CALL ID", "ATTEMPTS", "ERROR"];
const row = [
  ...["2026-11-27T07:58:22.481Z", "failed", "shop.v1.ShopService.Order", "_", callId, "1"],
  "invalid_argument: there is no such thing in the shop",
];

/** A name that is longer than any terminal is wide. */
const longName = `${"very.long.package.".repeat(8)}v1.${"Quite".repeat(8)}Service.${"Do".repeat(20)}It`;

test("a narrow table shows what counts, the end of names, and no line is longer", () => {
  for (const [width, texts] of [
    [200, [...row, ...titles]],
    [120, ["2026-11-27T07:58:22", "failed", "Order", callId, "ATTEMPTS", "invalid_a"]],
    [80, ["2026-11-27T07:58", "failed", "Order", callId, "invalid"]],
    [73, ["2026-11-27T07:58", "failed", "Order", callId, "invalid…"]],
  ] as const) {
    for (const rows of [[row], [row.with(2, longName), row]]) {
      const lines = fitTable(titles, rows, width);
      expect(lines).toHaveLength(rows.length + 1);
      expect(Math.max(...lines.map((line) => line.length))).toBeLessThanOrEqual(width);
      for (const text of rows.length > 1 ? [callId] : texts) {
        expect(lines.join("\n")).toContain(text);
      }
    }
    expect(fitTable(titles, [row.with(2, longName)], width)[1]).toMatch(/…[\w.]*DoIt/);
  }
});

test("where a table does not fit, each row is a block that has all of it", () => {
  for (const width of [72, 59, 40, 10, 1]) {
    const lines = fitTable(titles, [row, row.with(2, longName)], width);
    expect(lines).toHaveLength(2 * titles.length + 1);
    expect(lines.slice(0, 7)).toEqual([
      "at        2026-11-27T07:58:22.481Z",
      "state     failed",
      "method    shop.v1.ShopService.Order",
      "owner     _",
      `call id   ${callId}`,
      "attempts  1",
      "error     invalid_argument: there is no such thing in the shop",
    ]);
    expect(lines).toContain(`method    ${longName}`);
  }
});

test("ids of workers are whole in any terminal, too", () => {
  const workers = ["SERVICE", "WORKER", "VERSION", "STATUS", "STARTED", "METHODS", "RUNNING"];
  const id = "MEWF1PH8L5ZCSGCVS3ZMT3";
  const cells = [longName, id, "1.2.3", "running", "2026-11-27T07:58:22.481Z", "12", "3"];
  for (let width = 1; width < 300; width++) {
    expect(fitTable(workers, [cells], width).join("\n")).toContain(id);
  }
});

test("a terminal that cannot move its cursor gets no bar", async () => {
  const shown = (TERM: string) => {
    const stderr = Object.assign(new PassThrough(), { isTTY: true });
    const on = { stdin: process.stdin, stdout: new PassThrough(), stderr, env: { TERM } };
    return runOn(on, async () => {
      new ProgressBar().show({ done: 1, total: 2, message: "" });
      return String(stderr.read() ?? "");
    });
  };
  expect(await shown("xterm")).toContain("1 of 2");
  expect(await shown("dumb")).toBe("");
});

test("a table may have more rows than a function takes arguments", () => {
  const rows = Array.from({ length: 200_000 }, (_, index) => [`${index}`]);
  expect(tableOf(["NUMBER"], rows)).toHaveLength(200_001);
});
