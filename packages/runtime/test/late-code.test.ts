import { execFile } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { Code, mayHaveRun } from "@jetrpc/runtime";
import { build } from "esbuild";
import { expect, onTestFinished, test } from "vitest";
import type { DurableTransport } from "../src/client/durable-transport.js";
import { iterateLate } from "../src/client/late-call.js";
import { loadForCall } from "../src/client/load-for-call.js";
import { LateCode } from "../src/message/late-code.js";
import { TestService } from "./gen/test/v1/test_pb.js";
import { gate, useNats } from "./support.js";

const nats = useNats();

test("calls whose code is away end with Unavailable, have not run, and work when it is back", async () => {
  // Beside the packages that a bundle for Node leaves out.
  const outdir = await mkdtemp(join(import.meta.dirname, "../dist/late-code-"));
  onTestFinished(() => rm(outdir, { recursive: true, force: true }));
  await build({
    entryPoints: { main: join(import.meta.dirname, "late-code-client.mjs") },
    bundle: true,
    splitting: true,
    format: "esm",
    platform: "node",
    outdir,
    outExtension: { ".js": ".mjs" },
    external: ["@bufbuild/*", "@connectrpc/*", "@nats-io/*", "dotenv", "js-sha256"],
    logLevel: "error",
  });
  const env = { ...process.env, ...nats.environment("client") };
  const { stdout } = await promisify(execFile)("node", [join(outdir, "main.mjs")], { env });
  const { canceled, away, back } = JSON.parse(stdout) as {
    canceled: string;
    away: Record<string, string>;
    back: string;
  };
  expect(canceled).toMatch(` ${Code.Canceled} false`);
  expect(Object.keys(away).length).toBe(9);
  for (const [act, outcome] of Object.entries(away)) {
    expect(outcome).toMatch(/^the code of durable calls cannot be loaded: .* 14 (true|false)$/);
    // Only a call that is new has surely not run.
    const isNew = ["call", "stream", "submit", "submitAll"].includes(act);
    expect([act, outcome.endsWith("true")]).toEqual([act, !isNew]);
  }
  expect(back).toBe("done");
});

test("the time of a call ends it while its code is loaded", async () => {
  const code = new LateCode<never>("tests", () => new Promise(() => undefined));
  const loading = loadForCall(code, TestService.method.do, { timeoutMs: 20 });
  const error = await loading.catch((thrown) => thrown);
  expect(error).toMatchObject({ code: Code.DeadlineExceeded });
  expect(error.rawMessage).toContain("did not end within 20 ms: its code was not loaded in time");
  expect(mayHaveRun(error)).toBe(false);
});

test("a reader that leaves while the code is loaded begins nothing", async () => {
  const arrived = gate();
  const opened: string[] = [];
  const code = new LateCode<DurableTransport>("tests", async () => {
    await arrived.opened;
    return {} as DurableTransport;
  });
  async function* open() {
    opened.push("opened");
    yield 1;
  }
  const results = iterateLate(code, open, () => code.get());
  const first = results.next();
  await results.return?.();
  expect(await first).toEqual({ done: true, value: undefined });
  arrived.open();
  await code.get();
  await new Promise(setImmediate);
  expect(opened).toEqual([]);
});
