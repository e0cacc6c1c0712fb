// A worker of one call of each method at a time. It says how many run whenever one
// begins, and stands still for as many ms as it reads from its standard input.
import { createInterface } from "node:readline";
import { setTimeout as delay } from "node:timers/promises";
import { serve } from "@jetrpc/runtime/node";
import { TestService } from "./gen/test/v1/test_pb.js";

// Dies with the parent, however that goes.
createInterface({ input: process.stdin })
  .on("line", (line) => {
    const endsAt = Date.now() + Number(line);
    while (Date.now() < endsAt);
    console.log("stood still");
  })
  .on("close", () => process.exit());
process.stdin.unref();

const running = { do: 0, urgent: 0, two: 0 };

const run = (method) => async () => {
  console.log(`${method} runs ${++running[method]}`);
  await delay(100);
  running[method]--;
  return {};
};

await serve(
  TestService,
  { do: run("do"), urgent: run("urgent"), two: run("two"), get: () => ({}) },
  { concurrency: 1, directConcurrency: 1 },
);
console.log("ready");
