import { execFile } from "node:child_process";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, expect, test } from "vitest";

const run = promisify(execFile);
const main = join(import.meta.dirname, "../dist/main.js");
let folder: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "jetrpc-chaos-"));
});
afterAll(() => rm(folder, { recursive: true }));

test("30 s of attacks lose nothing, double nothing, and leave nothing behind", {
  timeout: 300_000,
}, async () => {
  const file = join(folder, "verdict.json");
  const { stdout } = await run(process.execPath, [main, "--seconds", "30", "--json", file]);
  expect(stdout).toMatch(/^accepted \d+ done \d+ dead \d+ lost 0 doubled 0 stuck 0\n$/);
  const verdict = JSON.parse(await readFile(file, "utf8"));
  expect(verdict).toMatchObject({ nodes: 1, lost: 0, doubled: 0, stuck: 0 });
  expect(verdict.accepted).toBeGreaterThan(100);
  expect(verdict.done).toBeGreaterThan(100);
});

test("refuses options that it does not know", async () => {
  const failed = run(process.execPath, [main, "--nodes", "2"]);
  await expect(failed).rejects.toMatchObject({
    code: 2,
    stderr: expect.stringContaining("--nodes 2 must be 1 or 3"),
  });
});
