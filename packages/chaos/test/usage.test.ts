import { execFile } from "node:child_process";
import { join } from "node:path";
import { promisify } from "node:util";
import { describe, expect, test } from "vitest";

const run = promisify(execFile);

describe.each([
  ["main.js", "npm run chaos", ["--nodes", "2"]],
  ["fuzz.js", "npm run fuzz", ["--messages", "many"]],
])("%s", (name, command, wrong) => {
  const main = join(import.meta.dirname, "../dist", name);

  test("tells how it is used", async () => {
    const { stdout, stderr } = await run(process.execPath, [main, "--help"]);
    expect([stdout.startsWith(`${command} -- [options]\n`), stderr]).toEqual([true, ""]);
  });

  test.each([[wrong], [["--fast"]]])("refuses %j with how it is used", async (args) => {
    const failure = await run(process.execPath, [main, ...args]).catch((error) => error);
    expect(failure).toMatchObject({ code: 2, stdout: "" });
    expect(failure.stderr).toContain(args[0]);
    expect(failure.stderr).toContain(`\n\n${command} -- [options]\n`);
  });
});
