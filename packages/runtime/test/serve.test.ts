import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { Code, ConnectError, startWorker as startInProcess } from "@jetrpc/runtime";
import { serve } from "@jetrpc/runtime/node";
import { createOperator } from "@jetrpc/runtime/operator";
import { afterEach, describe, expect, test } from "vitest";
import { toLine } from "../src/node/stderr-logger.js";
import { TestService } from "./gen/test/v1/test_pb.js";
import { until, useNats } from "./support.js";

const nats = useNats();
const started: ChildProcess[] = [];
afterEach(async () => {
  for (const child of started.splice(0)) {
    if (!hasEnded(child)) {
      const exit = once(child, "exit");
      child.kill("SIGKILL");
      await exit;
    }
  }
});

function hasEnded({ exitCode, signalCode }: ChildProcess): boolean {
  return exitCode !== null || signalCode !== null;
}

/** Starts serve-worker.mjs, and resolves when it takes calls. */
async function startWorker(options: object = {}, url = nats.server.url) {
  const script = join(import.meta.dirname, "serve-worker.mjs");
  const child = spawn(process.execPath, [script, JSON.stringify(options)], {
    env: { ...process.env, ...nats.environment("worker", url) },
    stdio: "pipe",
  });
  started.push(child);
  const said = { out: "", err: "" };
  child.stdout.on("data", (text) => {
    said.out += text;
  });
  child.stderr.on("data", (text) => {
    said.err += text;
  });
  const records = () =>
    said.err
      .split("\n")
      .filter((line) => line !== "")
      .map((line) => JSON.parse(line) as Record<string, unknown>);
  const says = (message: string) => records().some((record) => record["message"] === message);
  await until(() => said.out.includes("ready") || hasEnded(child));
  expect(said.err).toBe("");
  return { child, said, records, says };
}

describe("a failing handler", () => {
  test("of a direct call is told on stderr, and its caller hears no more than before", async () => {
    const worker = await startWorker();
    const client = await nats.client();
    await expect(client.get({ text: "x" })).rejects.toMatchObject({
      code: Code.Internal,
      rawMessage: "internal error",
    });
    await until(() => worker.records().length > 0);
    expect(worker.records()).toEqual([
      {
        time: expect.stringMatching(/^20\d\d-.+Z$/),
        level: "error",
        message: "a handler threw what is no ConnectError",
        method: "rpc test.v1.TestService.Get",
        error: {
          message: expect.stringContaining("undefined"),
          stack: expect.stringMatching(
            /^TypeError: .+\n +at \S*break_ \(.+serve-worker\.mjs:\d+:\d+\)/,
          ),
        },
      },
    ]);
  });

  test("of a durable call is told at each attempt, and kept for operators", async () => {
    const worker = await startWorker();
    const client = await nats.client();
    const call = await client.do.submit({ text: "x" }, { callId: "bug" });
    await expect(call.result()).rejects.toMatchObject({ rawMessage: "internal error" });
    await until(() => worker.says("a call failed"));
    expect(worker.records().map(({ level, attempt, callId }) => [level, attempt, callId])).toEqual([
      ["warn", 1, "bug"],
      ["warn", 2, "bug"],
      ["error", 3, "bug"],
    ]);
    const operator = createOperator(await nats.connect({ as: "operator" }), TestService);
    const letters = async () => {
      const all = [];
      for await (const letter of operator.deadLetters({ callId: "bug" })) {
        all.push(letter);
      }
      return all;
    };
    const [letter] = await letters();
    expect(letter?.error.rawMessage).toBe("internal error");
    expect(await letter?.cause()).toMatch(/^TypeError: .+\n +at \S*break_ \(.+serve-worker\.mjs/);
    expect(await letter?.toJson()).toMatchObject({
      cause: expect.stringContaining("TypeError"),
      error: { code: "internal", message: "internal error" },
    });
    await letter?.discard();
    expect(await letters()).toEqual([]);
    const root = await nats.connect();
    const stream = await root.nats.request("$JS.API.STREAM.INFO.TEST_DEAD");
    expect(stream.json()).toMatchObject({ state: { messages: 0 } });
  });

  test("is nobody's business when nobody is to be told", async () => {
    const worker = await startWorker({ logger: false });
    const client = await nats.client();
    await expect(client.get({ text: "x" })).rejects.toMatchObject({ code: Code.Internal });
    const exit = once(worker.child, "exit");
    worker.child.kill("SIGTERM");
    expect(await exit).toEqual([0, null]);
    expect(worker.said.err).toBe("");
  });
});

test("a connection that is lost and found is told", async () => {
  await using server = await nats.start();
  const worker = await startWorker({}, server.url);
  await server.kill();
  await until(() => worker.says("the connection to NATS is lost, and is being made anew"));
  await server.restart();
  await until(() => worker.says("the connection to NATS is there again"));
});

test("a line for people has it all, and is one", () => {
  const error = new TypeError("one\n two");
  error.stack = "TypeError: one\n two\n    at work (a.ts:1:2)\n    at next (b.ts:3:4)";
  const record = { level: "error", message: "a call failed", attempt: 5, callId: "c" } as const;
  expect(toLine({ ...record, method: "a.B.C", error })).toMatch(
    /^\d\d:\d\d:\d\d error a call failed: a\.B\.C "c" attempt 5: TypeError: one two \(at work \(a\.ts:1:2\)\)$/,
  );
  expect(toLine({ ...record, error: new ConnectError("no", Code.NotFound) })).toMatch(
    /: "c" attempt 5: ConnectError: \[not_found\] no$/,
  );
});

describe("Ctrl-C", () => {
  test("tells how many calls are left, and stops at once when it comes again", async () => {
    const worker = await startWorker();
    const client = await nats.client();
    client.get({ text: "wait" }).catch(() => undefined);
    await until(() => worker.said.out.includes("begun"));
    worker.child.kill("SIGINT");
    await until(() => worker.says("finishing 1 call; again to stop now"));
    // npm hands it on to a process that has it already: twice at once is once.
    await until(() => worker.child.kill("SIGINT") === false || hasEnded(worker.child));
    expect(worker.child.exitCode).toBe(130);
  });

  test("is heard by all idle workers of a process, without a word", async () => {
    const worker = await startWorker({ workers: 12 });
    const exit = once(worker.child, "exit");
    worker.child.kill("SIGINT");
    expect(await exit).toEqual([0, null]);
    // Nothing runs, and nothing is said.
    expect(worker.records()).toEqual([]);
  });
});

test("a worker and its connection end with their block", async () => {
  let ended: Promise<unknown>[];
  {
    await using connection = await nats.connect({ as: "worker", keep: true });
    await using served = await serve(TestService, { get: () => ({}) }, { connection });
    await using started = await startInProcess(TestService, { two: () => ({}) }, connection);
    ended = [served.closed, started.closed, connection.closed];
  }
  expect(await Promise.all(ended)).toEqual([undefined, undefined, undefined]);
});

test("a handler that the service lacks is refused", async () => {
  const connection = await nats.connect({ as: "worker" });
  const impl = { get: () => ({}), gett: () => ({}) };
  await expect(serve(TestService, impl, { connection })).rejects.toMatchObject({
    code: Code.InvalidArgument,
    rawMessage: expect.stringMatching(/^test\.v1\.TestService has no method "gett": it has get, /),
  });
  // @ts-expect-error TypeScript finds what is written in place
  const inline = serve(TestService, { get: () => ({}), gett: () => ({}) }, { connection });
  await expect(inline).rejects.toThrow("gett");
});

test("the progress of a direct call, which nobody can follow, is refused by its name", async () => {
  const worker = await nats.worker({
    get: (_, { progress }) => {
      progress({ done: 1 });
      return {};
    },
  });
  await expect((await nats.client()).get({})).rejects.toMatchObject({
    code: Code.FailedPrecondition,
    rawMessage: expect.stringContaining("test.v1.TestService.Get is a direct method"),
  });
  expect(worker.running).toBe(0);
});
