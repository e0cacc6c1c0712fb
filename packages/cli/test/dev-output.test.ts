import { PassThrough } from "node:stream";
import { expect, test } from "vitest";
import { DevOutput, wantsColours } from "../src/dev/dev-output.js";
import { commandsOf } from "../src/dev/package-scripts.js";

/** An output, and what it has written. */
function outputOf(isColoured = false) {
  const written = { out: "", err: "" };
  const streamOf = (name: "out" | "err") => ({
    write: (text: string) => {
      written[name] += text;
    },
  });
  const output = new DevOutput(isColoured, { stdout: streamOf("out"), stderr: streamOf("err") });
  output.add("jetrpc", "worker", "web");
  return { output, written };
}

test("each line has the name of its process, and errors stand out without colours, too", () => {
  const { output, written } = outputOf();
  output.write("web", "one\ntwo");
  output.write("worker", "a bug", "error");
  output.write("worker", "a word", "notice");
  expect(written).toEqual({
    out: "web    │ one\nweb    │ two\n",
    err: "worker ! a bug\nworker : a word\n",
  });
});

test("names have colours, errors are red", () => {
  const { output, written } = outputOf(true);
  output.write("jetrpc", "one");
  output.write("worker", "two", "error");
  expect(written.out).toBe("\x1b[36mjetrpc\x1b[0m \x1b[2m│\x1b[0m one\n");
  expect(written.err).toBe("\x1b[35mworker\x1b[0m \x1b[31m!\x1b[0m two\n");
});

test("lines that come in pieces are put together, and records of serve() are for people", async () => {
  const { output, written } = outputOf();
  const [stdout, stderr] = [new PassThrough(), new PassThrough()];
  output.follow("worker", { stdout, stderr });
  const umlaut = Buffer.from("größer\n");
  stdout.write(umlaut.subarray(0, 3));
  stdout.end(umlaut.subarray(3));
  const record = (level: string, error: object) =>
    `${JSON.stringify({ time: "2030-01-01T00:00:00Z", level, message: "a call failed", method: "rpc a.B.C", callId: "c-1", attempt: 2, error })}\n`;
  stderr.write(record("warn", { code: "not_found", message: "nobody", stack: "Error\n at x" }));
  stderr.write(record("error", { message: "a bug", stack: "Error: a bug\n    at x" }));
  stderr.end("plain\n{not json}");
  await expect.poll(() => written.err).toContain("{not json}");
  expect(written.out).toBe("worker │ größer\n");
  expect(written.err.split("\n")).toEqual([
    'worker ! warn: a call failed: rpc a.B.C "c-1" attempt 2: nobody',
    'worker ! error: a call failed: rpc a.B.C "c-1" attempt 2',
    "worker ! Error: a bug",
    "worker !     at x",
    "worker : plain",
    "worker : {not json}",
    "",
  ]);
});

test.each([
  [{}, true, true],
  [{}, undefined, false],
  [{ TERM: "dumb" }, true, false],
  [{ NO_COLOR: "1" }, true, false],
  [{ NO_COLOR: "1", FORCE_COLOR: "1" }, true, false],
  [{ NO_COLOR: "" }, true, true],
  [{ FORCE_COLOR: "1" }, undefined, true],
  [{ FORCE_COLOR: "0" }, true, false],
])("with %j on a terminal: %s, colours: %s", (env, isTerminal, expected) => {
  expect(wantsColours(env, isTerminal)).toBe(expected);
});

test("workers are scripts of package.json, or those that are given", () => {
  const scripts = { worker: "a", "worker:gpu": "b", "dev:web": "vite", dev: "jetrpc dev" };
  const web = { name: "web", command: "vite", isWorker: false };
  expect(commandsOf(scripts)).toEqual([
    { name: "worker", command: "a", isWorker: true },
    { name: "gpu", command: "b", isWorker: true },
    web,
  ]);
  expect(commandsOf(scripts, ["c", "d"])).toEqual([
    { name: "worker 1", command: "c", isWorker: true },
    { name: "worker 2", command: "d", isWorker: true },
    web,
  ]);
  expect(() => commandsOf({ start: "x" })).toThrow('write a script "worker"');
  expect(() => commandsOf({ worker: " " })).toThrow("worker has no command");
  expect(() => commandsOf({ worker: "a", "dev:web": ["b"] as never })).toThrow(
    "web has no command",
  );
});
