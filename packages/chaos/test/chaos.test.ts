import { execFile } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { expect, onTestFinished, test } from "vitest";
import { BoundedLog } from "../src/evidence.js";

const run = promisify(execFile);
const main = join(import.meta.dirname, "../dist/main.js");

test("refuses options that it does not know", async () => {
  const failed = run(process.execPath, [main, "--nodes", "2"]);
  await expect(failed).rejects.toMatchObject({
    code: 2,
    stderr: expect.stringContaining("--nodes 2 must be 1 or 3"),
  });
});

test("a run that fails keeps stores and logs, and says where", async () => {
  const folder = temporaryFolder();
  const failed = run(process.execPath, [main, "--faults", "no such fault"], inFolder(folder));
  await expect(failed).rejects.toMatchObject({ code: 1 });
  const { stderr } = await failed.catch((error: { stderr: string }) => error);
  const [kept = ""] = readdirSync(folder);
  expect(stderr).toContain(`stores and logs are in ${join(folder, kept)}\n`);
  expect(readdirSync(join(folder, kept)).sort()).toEqual([
    "attack.log",
    ...["client-1.journal", "client-1.log", "client-2.journal", "client-2.log"],
    ...["server-1", "server-1.log"],
    ...["worker-1.journal", "worker-1.log", "worker-2.journal", "worker-2.log"],
    ...["worker-3.journal", "worker-3.log"],
  ]);
  expect(readFileSync(join(folder, kept, "attack.log"), "utf8")).toMatch(/^\S+Z seed \d+, one/);
}, 400_000);

test("a log keeps its end", () => {
  const folder = temporaryFolder();
  const log = new BoundedLog(join(folder, "all.log"));
  for (let megabyte = 0; megabyte < 30; megabyte++) {
    log.write(`${megabyte} `.padEnd(1024 * 1024));
  }
  const kept = ["all.log.old", "all.log"].map((name) => readFileSync(join(folder, name), "utf8"));
  expect(kept.join("").trim().split(/ +/)).toEqual(
    Array.from({ length: 12 }, (_, i) => `${18 + i}`),
  );
});

// A failed run rejects with an error that says what is wrong, and gives the seed.
test("half a minute of the attack loses, doubles, forgets, exceeds and leaves nothing", async () => {
  const folder = temporaryFolder();
  const options = ["--seconds", "30", "--rate", "50"];
  const { stdout } = await run(process.execPath, [main, ...options], inFolder(folder));
  expect(stdout).toMatch(
    /^accepted [1-9]\d* done \d+ dead \d+ removed \d+ lost 0 doubled 0 stuck 0 left 0 exceeded 0 crashed 0 grown 0$/m,
  );
  expect(readdirSync(folder)).toEqual([]);
}, 400_000);

/** Removed when the test has passed: what a failed run keeps is to be read. */
function temporaryFolder(): string {
  const path = mkdtempSync(join(tmpdir(), "jetrpc-chaos-test-"));
  onTestFinished(({ task }) => {
    if (task.result?.state === "pass") {
      rmSync(path, { recursive: true });
    }
  });
  return path;
}

/** Has a run keep there what it keeps. */
function inFolder(path: string): { env: NodeJS.ProcessEnv } {
  return { env: { ...process.env, TMPDIR: path } };
}
