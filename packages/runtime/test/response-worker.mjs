// A worker whose responses have as many bytes as the request says.
import { serve } from "@jetrpc/runtime/node";
import { EdgeService } from "./gen/test/v1/test_pb.js";

// Dies with the parent, however that goes.
process.stdin.on("end", () => process.exit()).resume();
process.stdin.unref();

await serve(EdgeService, {
  run: ({ count }, { attempt }) => {
    console.log(`attempt ${attempt}`);
    return { index: attempt, data: new Uint8Array(count) };
  },
});
console.log("ready");
