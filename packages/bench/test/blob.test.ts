import { execFile } from "node:child_process";
import { join } from "node:path";
import { promisify } from "node:util";
import { expect, test } from "vitest";

const run = promisify(execFile);
const blob = join(import.meta.dirname, "../dist/blob.js");

test("a file goes from disk to disk and back, cut twice, without being held in memory", async () => {
  const { stdout } = await run(process.execPath, [blob, "--megabytes", "80", "--cut", "--json"]);
  const row = JSON.parse(stdout) as Record<string, number>;
  expect(row).toMatchObject({ bytes: 80_000_000, cuts: 2, isSame: true });
  for (const side of ["client", "worker"]) {
    const grown = Number(row[`${side}RssPeak`]) - Number(row[`${side}RssBefore`]);
    // Less than the file, and no more for a larger one: see docs/performance.md.
    expect(grown, side).toBeLessThan(64 * 1024 * 1024);
  }
});

test("a size that is none is refused with what to do", async () => {
  const failure = await run(process.execPath, [blob, "--megabytes", "x"]).catch((error) => error);
  expect(failure.code).toBe(2);
  expect(failure.stderr).toContain("--megabytes N");
});
