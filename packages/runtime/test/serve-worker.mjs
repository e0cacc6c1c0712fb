// A worker whose handlers fail or wait. Its options come as JSON. It says "ready" when it
// takes calls, and "begun" when a call waits.
import { serve } from "@jetrpc/runtime/node";
import { TestService } from "./gen/test/v1/test_pb.js";

// Die with the parent, however it goes.
process.stdin.on("end", () => process.exit(77)).resume();
process.stdin.unref();

const { workers = 1, ...options } = JSON.parse(process.argv[2] ?? "{}");

function break_({ text }) {
  if (text === "wait") {
    console.log("begun");
    return new Promise(() => undefined);
  }
  return text.missing.field;
}

for (let number = 0; number < workers; number++) {
  await serve(TestService, { get: break_, do: break_, picky: break_ }, options);
}
console.log("ready");
