import { execFile } from "node:child_process";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, expect, test } from "vitest";

const run = promisify(execFile);
let folder: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "jetrpc-bench-"));
});
afterAll(() => rm(folder, { recursive: true }));

function bench(command: string, ...args: string[]) {
  return run(process.execPath, [join(import.meta.dirname, "../dist", `${command}.js`), ...args]);
}

test("attaches to finished calls", async () => {
  const file = join(folder, "attach.json");
  await bench("attach", "--calls", "4,40", "--rounds", "1", "--json", file);
  expect(JSON.parse(await readFile(file, "utf8"))).toMatchObject([
    { calls: 4, kind: "unary", attaches: 50 },
    { calls: 40, kind: "unary", attaches: 50 },
    { calls: 4, kind: "streamed", attaches: 50 },
    { calls: 40, kind: "streamed", attaches: 50 },
  ]);
});

test("attach refuses what it cannot do, with what it can", async () => {
  for (const args of [["--calls", "1,none"], ["--fast"]]) {
    const failure = await bench("attach", ...args).catch((error) => error);
    expect(failure.code).toBe(2);
    expect(failure.stderr).toContain(args[0]);
    expect(failure.stderr).toContain("--json FILE");
  }
});
