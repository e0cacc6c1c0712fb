import { execFile } from "node:child_process";
import { join } from "node:path";
import { promisify } from "node:util";
import { expect, test } from "vitest";

const run = promisify(execFile);
const main = join(import.meta.dirname, "../dist/main.js");

test("refuses options that it does not know", async () => {
  const failed = run(process.execPath, [main, "--nodes", "2"]);
  await expect(failed).rejects.toMatchObject({
    code: 2,
    stderr: expect.stringContaining("--nodes 2 must be 1 or 3"),
  });
});

// What is wrong is in the error that a failed run rejects with, seed and all.
test("half a minute of the attack loses, doubles and forgets nothing", async () => {
  const { stdout } = await run(process.execPath, [main, "--seconds", "30"]);
  expect(stdout).toMatch(/^accepted [1-9]\d* done \d+ dead \d+ lost 0 doubled 0 stuck 0 left 0$/m);
}, 240_000);
