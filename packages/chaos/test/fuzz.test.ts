import { execFile } from "node:child_process";
import { join } from "node:path";
import { promisify } from "node:util";
import { expect, test } from "vitest";

const run = promisify(execFile);
const main = join(import.meta.dirname, "../dist/fuzz.js");

test("refuses options that it does not know", async () => {
  const failed = run(process.execPath, [main, "--messages", "many"]);
  await expect(failed).rejects.toMatchObject({
    code: 2,
    stderr: expect.stringContaining("--messages many must be a whole number"),
  });
});

// A failed run rejects with an error that says what is wrong, and gives the seed.
test("20,000 malformed messages end no process, take no slot and harm no other call", async () => {
  const { stdout } = await run(process.execPath, [main, "--messages", "20000", "--no-shrink"]);
  expect(stdout).toContain("sent 20000: all is well");
}, 600_000);
