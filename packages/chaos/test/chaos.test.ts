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
