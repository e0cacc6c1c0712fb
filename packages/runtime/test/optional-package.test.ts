import { execFile } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { Code } from "@jetrpc/runtime";
import { expect, onTestFinished, test } from "vitest";

test.each(["@nats-io/transport-node", "dotenv"])(
  "connect() says how to install %s where that is missing",
  async (name) => {
    const folder = mkdtempSync(join(tmpdir(), "jetrpc-missing-"));
    onTestFinished(() => rmSync(folder, { recursive: true }));
    // Only a process with this file needs dotenv.
    writeFileSync(join(folder, ".env"), "NATS_URL=nats://127.0.0.1:1\n");
    const script = join(import.meta.dirname, "missing-package.mjs");
    const { stdout } = await promisify(execFile)(process.execPath, [script, name], {
      cwd: folder,
    });
    expect(JSON.parse(stdout)).toEqual({
      code: Code.FailedPrecondition,
      rawMessage: `connect() needs the package ${name}, which cannot be loaded: install it (npm install ${name}); an install with --omit=optional leaves it out`,
      cause: "it is not installed",
    });
  },
);
