// A worker that is killed by its calls. It says which attempt has begun before it dies.
import { writeSync } from "node:fs";
import { serve } from "@jetrpc/runtime/node";
import { TestService } from "./gen/test/v1/test_pb.js";

// Dies with the parent, however that goes.
process.stdin.on("end", () => process.exit()).resume();
process.stdin.unref();

await serve(TestService, {
  do({ text }, { attempt }) {
    if (text === "poison") {
      writeSync(1, `begun ${attempt}\n`);
      process.kill(process.pid, "SIGKILL");
    }
    return {};
  },
});
console.log("ready");
