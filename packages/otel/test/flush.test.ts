import { spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { expect, test } from "vitest";
import { until, useNats } from "../../runtime/test/support.js";
import { Metric } from "../src/conventions.js";

const nats = useNats();

test("a worker that is told to stop exports the spans and metrics of its last calls", async () => {
  const child = spawn(process.execPath, [join(import.meta.dirname, "flush-process.mjs")], {
    env: { ...process.env, ...nats.environment("worker") },
    stdio: ["pipe", "pipe", "inherit"],
  });
  const heard: string[] = [];
  createInterface({ input: child.stdout }).on("line", (line) => heard.push(line));
  await until(() => heard.includes("ready"));
  const call = await (await nats.client()).do.submit({});
  await until(() => heard.includes("began"));
  const gone = once(child, "close");
  child.kill("SIGTERM");
  await call.result();
  expect(await gone).toEqual([0, null]);
  expect(heard).toContain("process test.v1.TestService.queue.Do");
  expect(heard).toContain(Metric.processDuration);
});
