import { execFile } from "node:child_process";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { expect, test } from "vitest";

interface Row {
  after: string;
  heap: number;
  subscriptions: number;
}

test("a gateway holds no more after many calls, and nothing of followers that were cut", async () => {
  const folder = await mkdtemp(join(tmpdir(), "jetrpc-bench-"));
  const file = join(folder, "rows.json");
  await promisify(execFile)(process.execPath, [
    join(import.meta.dirname, "../dist/gateway-memory.js"),
    ...["--calls", "10000", "--followers", "200", "--json", file],
  ]);
  const rows: Row[] = JSON.parse(await readFile(file, "utf8"));
  await rm(folder, { recursive: true });
  const row = (after: string) => rows.find((each) => each.after === after) as Row;
  // V8 keeps code and tables that grow at first. A call that left 1 KB would show.
  expect(row("10000 calls").heap - row("2000 calls").heap).toBeLessThan(4e6);
  const [first, last] = [row("they were cut, 1"), row("they were cut, 3")];
  expect(last.heap - first.heap).toBeLessThan(2e6);
  expect(last.subscriptions).toBe(first.subscriptions);
  // Those that are there are seen.
  expect(row("200 followers, 1").heap - first.heap).toBeGreaterThan(2e6);
});
