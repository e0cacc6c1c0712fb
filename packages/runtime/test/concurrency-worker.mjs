// A worker of one call at a time. It says how many run whenever one begins, and stands
// still for as many ms as it reads from its standard input.
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

let running = 0;

async function run(_request, { attempt }) {
  console.log(`running ${++running}`);
  await delay(200);
  running--;
  return { text: `attempt ${attempt}` };
}

await serve(
  TestService,
  { do: run, urgent: run, two: run, get: () => ({}) },
  { concurrency: 1, directConcurrency: 1 },
);
console.log("ready");
