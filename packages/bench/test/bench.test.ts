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
  folder = await mkdtemp(join(tmpdir(), "jetrpc-bench-"));
});
afterAll(() => rm(folder, { recursive: true }));

test("measures every subject, and writes a row for each load", async () => {
  const file = join(folder, "rows.json");
  const args = ["--quick", "--rounds", "1", "--ms", "20", "--warm-up", "20", "--json", file];
  const { stdout } = await run(process.execPath, [main, ...args]);
  expect(stdout).toContain("unary, 128 B, 64 in flight");
  const rows = JSON.parse(await readFile(file, "utf8")) as Record<string, unknown>[];
  const names = (suite: string, inFlight: number) =>
    rows
      .filter((row) => row["suite"] === suite && row["inFlight"] === inFlight)
      .map((row) => row["name"]);
  const unary = [
    "bare mux",
    "nc.request default",
    "nc.request noAsyncTraces",
    "jetrpc direct",
    "grpc-js",
    "connect-node http/1.1",
    "connect-node grpc",
  ];
  expect(names("unary", 1)).toEqual(unary);
  expect(names("unary", 64)).toEqual(unary);
  const hasRedis = names("durable", 1).includes("bullmq");
  const durable = ["jetrpc durable", "hand-written JetStream", ...(hasRedis ? ["bullmq"] : [])];
  expect(names("durable", 1)).toEqual(durable);
  expect(names("durable", 64)).toEqual(durable);
  expect(names("stream", 1)).toEqual(["jetrpc direct", "grpc-js", "connect-node grpc"]);
  for (const row of rows) {
    expect(row).toMatchObject({
      payloadBytes: row["suite"] === "stream" ? 20 : 128,
      callsPerSecond: expect.any(Number),
      p50Ms: expect.any(Number),
      p99Ms: expect.any(Number),
      clientCpuUs: expect.any(Number),
      workerCpuUs: expect.any(Number),
    });
    expect(row["callsPerSecond"]).toBeGreaterThan(0);
    expect(row["clientCpuUs"]).toBeGreaterThan(0);
  }
});

test.each([
  [["--only", "telepathy"], "telepathy"],
  [["--rounds", "0"], "--rounds"],
  [["--fast"], "--fast"],
])("refuses %j with what to do", async (args, text) => {
  const failure = await run(process.execPath, [main, ...args]).catch((error) => error);
  expect(failure.code).toBe(2);
  expect(failure.stderr).toContain(text);
  expect(failure.stderr).toContain("--quick");
});
