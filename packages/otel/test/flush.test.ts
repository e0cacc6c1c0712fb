import { spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { expect, test } from "vitest";
import { until, useNats } from "../../runtime/test/support.js";
import { Metric } from "../src/conventions.js";

const nats = useNats();

/** A worker that is told to stop while a call runs, which then succeeds: how it ends, and what it says. */
async function stopWorker(more: Record<string, string>) {
  const child = spawn(process.execPath, [join(import.meta.dirname, "flush-process.mjs")], {
    env: { ...process.env, ...nats.environment("worker"), ...more },
    stdio: ["pipe", "pipe", "pipe"],
  });
  const heard: string[] = [];
  for (const input of [child.stdout, child.stderr]) {
    createInterface({ input }).on("line", (line) => heard.push(line));
  }
  await until(() => heard.includes("ready"));
  const call = await (await nats.client()).do.submit({});
  await until(() => heard.includes("began"));
  const gone = once(child, "close");
  child.kill("SIGTERM");
  await call.result();
  return { end: await gone, heard };
}

test("a worker that is told to stop exports the spans and metrics of its last calls", async () => {
  const { end, heard } = await stopWorker({});
  expect(end).toEqual([0, null]);
  expect(heard).toContain("process test.v1.TestService.queue.Do");
  expect(heard).toContain(Metric.processDuration);
});

// opentelemetry-js#1617: an export that failed ended processes.
test("a worker whose collector is away ends as others, and says so", async () => {
  const { end, heard } = await stopWorker({ COLLECTOR: "away" });
  expect(end).toEqual([0, null]);
  expect(heard.join("\n")).toContain("the collector is away");
});
