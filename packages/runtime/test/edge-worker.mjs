// A worker of EdgeService for tests to kill. Arguments: the methods that it serves,
// with commas between, and `go` when it is to hold nothing up.
import { createInterface } from "node:readline";
import { Code, ConnectError, retryAfter } from "@jetrpc/runtime";
import { serve } from "@jetrpc/runtime/node";
import { EdgeService } from "./gen/test/v1/test_pb.js";

const [methods, isFree] = process.argv.slice(2);

const broken = new Set();
let go;
const gone = new Promise((resolve) => {
  go = resolve;
});
if (isFree === "go") {
  go();
}

// Dies with the parent, however that goes.
createInterface({ input: process.stdin })
  .on("line", (line) => {
    if (line === "go") {
      go();
    }
  })
  .on("close", () => process.exit());
process.stdin.unref();

/** Does what the request says. */
async function act({ text, count }, { callId, attempt }) {
  console.log(`begun ${callId} ${attempt}`);
  const isBroken = text === "broken" && isFree !== "go" && !broken.has(callId);
  broken.add(callId);
  if (text === "fail" || isBroken) {
    throw new ConnectError("no", Code.InvalidArgument);
  }
  if (attempt === 1 && text === "retry") {
    throw new ConnectError("not yet", Code.Unavailable);
  }
  if (attempt === 1 && text === "rest") {
    throw retryAfter(new ConnectError("not yet", Code.Unavailable), count);
  }
  if (attempt === 1 && text === "hang") {
    await gone;
  }
  return {};
}

const impl = {
  run: act,
  once: act,
  back: act,
  wait: act,
  async *flow(request, context) {
    await act(request, context);
    for (let index = 0; index < request.count; index++) {
      yield { index };
    }
  },
};

await serve(
  EdgeService,
  Object.fromEntries(methods.split(",").map((method) => [method, impl[method]])),
  { concurrency: 1_000, drainTimeoutMs: 0 },
);
console.log("ready");
