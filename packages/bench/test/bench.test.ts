import { execFile } from "node:child_process";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, expect, test, vi } from "vitest";

// Each run starts many processes, which takes a busy machine minutes.
vi.setConfig({ testTimeout: 600_000 });

const run = promisify(execFile);
const main = join(import.meta.dirname, "../dist/main.js");
let folder: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "jetrpc-bench-"));
});
afterAll(() => rm(folder, { recursive: true }));

type Row = Record<string, unknown>;

/** Measures as little as can be, and reads the rows. */
async function measure(...args: string[]): Promise<{ stdout: string; rows: Row[] }> {
  const file = join(folder, "rows.json");
  const brief = ["--rounds", "1", "--ms", "20", "--warm-up", "20", "--first", "64"];
  const { stdout } = await run(process.execPath, [main, ...brief, "--json", file, ...args]);
  return { stdout, rows: JSON.parse(await readFile(file, "utf8")) };
}

test("measures every subject, and writes a row for each load", async () => {
  const { stdout, rows } = await measure("--quick");
  expect(stdout).toContain("unary, 128 B, 64 in flight");
  const names = (suite: string, inFlight: number, message = "bytes") =>
    rows
      .filter(
        (row) =>
          row["suite"] === suite && row["inFlight"] === inFlight && row["message"] === message,
      )
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
  expect(names("unary", 64, "order")).toEqual(unary);
  const hasRedis = names("durable", 1).includes("bullmq");
  const durable = ["jetrpc durable", "hand-written JetStream", ...(hasRedis ? ["bullmq"] : [])];
  expect(names("durable", 1)).toEqual(durable);
  expect(names("durable", 64)).toEqual(durable);
  expect(names("durable", 1, "order")).toEqual(durable);
  expect(names("stream", 1)).toEqual(["jetrpc direct", "grpc-js", "connect-node grpc"]);
  for (const row of rows) {
    expect(row).toMatchObject(figures);
    expect(row["callsPerSecond"]).toBeGreaterThan(0);
    expect(row["clientCpuUs"]).toBeGreaterThan(0);
  }
});

const ratio = {
  median: expect.any(Number),
  lowest: expect.any(Number),
  highest: expect.any(Number),
};

const figures = {
  rounds: 1,
  callsPerSecond: expect.any(Number),
  p50Ms: expect.any(Number),
  p99Ms: expect.any(Number),
  jetrpcIs: ratio,
  clientCpuUs: expect.any(Number),
  workerCpuUs: expect.any(Number),
};

test("measures the first calls of new processes", async () => {
  const { rows } = await measure(
    "--suite",
    "unary-cold,durable-cold",
    "--only",
    "jetrpc direct,jetrpc durable,hand-written JetStream",
  );
  expect(rows.map(({ suite, name, inFlight }) => ({ suite, name, inFlight }))).toEqual([
    { suite: "unary-cold", name: "jetrpc direct", inFlight: 1 },
    { suite: "unary-cold", name: "jetrpc direct", inFlight: 64 },
    { suite: "unary-cold", name: "jetrpc direct", inFlight: 64 },
    { suite: "durable-cold", name: "jetrpc durable", inFlight: 1 },
    { suite: "durable-cold", name: "hand-written JetStream", inFlight: 1 },
    { suite: "durable-cold", name: "jetrpc durable", inFlight: 64 },
    { suite: "durable-cold", name: "hand-written JetStream", inFlight: 64 },
  ]);
  for (const row of rows) {
    expect(row).toMatchObject(figures);
  }
});

test("measures one server beside three that sync their disks", async () => {
  const { rows } = await measure("--suite", "replicas");
  const names = [
    "jetrpc durable",
    "jetrpc durable always",
    "jetrpc durable 3 x always",
    "hand-written JetStream",
    "hand-written JetStream 3 x always",
  ];
  expect(rows.map(({ name }) => name)).toEqual([...names, ...names]);
});

// Memory is read from /proc.
test.skipIf(process.platform !== "linux")("queues and drains backlogs", async () => {
  const { rows, stdout } = await measure("--suite", "backlog", "--calls", "300,600");
  expect(stdout).toContain("backlog, memory");
  const seen = {
    first: expect.any(Number),
    most: expect.any(Number),
    growth: expect.any(Number),
    cpuUs: expect.any(Number),
  };
  const ours = rows.filter(({ name }) => name === "jetrpc durable");
  expect(ours).toMatchObject(
    [300, 600].map((calls) => ({
      suite: "backlog",
      calls,
      jetrpcQueues: { median: 1 },
      jetrpcDrains: { median: 1 },
      client: seen,
      workers: [seen, seen],
      serverQueueing: seen,
      serverDraining: seen,
    })),
  );
  expect(rows.map(({ name }) => name)).toContain("hand-written JetStream");
});

test("measures a model without batches and with them", async () => {
  const { rows, stdout } = await measure("--suite", "batches", "--items", "150");
  expect(stdout).toContain("items of a run");
  expect(rows.map(({ name, concurrency }) => [name, concurrency])).toEqual([
    ["a run for each call", 64],
    ["batched(), maxSize 32", 10],
    ["batched(), maxSize 32", 32],
    ["batched(), maxSize 32", 64],
    ["batched(), maxSize 64", 128],
  ]);
  for (const row of rows) {
    expect(row["toAlone"]).toEqual(ratio);
    expect(row["busy"]).toBeGreaterThan(0);
  }
  // A batch holds calls that run: `concurrency` bounds it.
  const [alone, few] = rows.map((row) => row["itemsOfRun"] as number);
  expect(alone).toBe(1);
  expect(few).toBeGreaterThan(1);
  expect(few).toBeLessThanOrEqual(10);
});

test("replaces the tables of a page, and leaves the rest as it is", async () => {
  const page = join(folder, "page.md");
  const mark = (title: string) => `<!-- bench: ${title} -->\n\n`;
  const old = "| old |\n| --- |\n| 1 |\n";
  const streams = mark("stream, 20 B, 1 in flight");
  const other = mark("durable, 128 B, 1 in flight");
  await writeFile(page, `# Title\n\n${streams}${old}\nText\n\n${other}${old}`);
  await measure("--suite", "stream", "--only", "jetrpc direct", "--page", page);
  const text = await readFile(page, "utf8");
  expect(text.startsWith(`# Title\n\n${streams}| `)).toBe(true);
  expect(text).toMatch(/\| jetrpc direct \| .* \|\n\nText\n/);
  expect(text.endsWith(`\nText\n\n${other}${old}`)).toBe(true);
});

test("tells how it is used", async () => {
  const { stdout } = await run(process.execPath, [main, "--help"]);
  expect(stdout).toContain("--suite A,B");
});

test.each([
  [["--only", "telepathy"], "telepathy"],
  [["--suite", "telepathy"], "durable-cold"],
  [["--suite", "stream", "--only", "bullmq"], "nothing is left"],
  [["--calls", "1,none"], "--calls"],
  [["--rounds", "0"], "--rounds"],
  [["--fast"], "--fast"],
])("refuses %j with what to do", async (args, text) => {
  const failure = await run(process.execPath, [main, ...args]).catch((error) => error);
  expect(failure.code).toBe(2);
  expect(failure.stderr).toContain(text);
  expect(failure.stderr).toContain("--quick");
});
