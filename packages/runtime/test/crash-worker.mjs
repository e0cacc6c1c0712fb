// A worker process for tests to kill. It says "ready" when it takes calls, and
// counts slowly, so that there is a middle to be killed in.
import { serve } from "@jetrpc/runtime/node";
import { TestService } from "./gen/test/v1/test_pb.js";

// Die with the parent, however it goes.
process.stdin.on("end", () => process.exit()).resume();
process.stdin.unref();

const pause = () => new Promise((resolve) => setTimeout(resolve, 2));

await serve(TestService, {
  async do(request, context) {
    if (request.text === "poison") {
      process.kill(process.pid, "SIGKILL");
    }
    if (context.attempt === 1 && request.text === "hang") {
      console.log("hanging");
      await new Promise(() => undefined);
    }
    return { text: `attempt ${context.attempt}` };
  },
  async *count(request, context) {
    context.signal.addEventListener("abort", () =>
      console.log(`aborted: ${context.signal.reason.rawMessage}`),
    );
    for (let index = 0; index < request.count; index++) {
      await pause();
      yield { index };
    }
  },
  async *resume(request, context) {
    for (let index = context.resumeFrom; index < request.count; index++) {
      await pause();
      yield { index };
    }
  },
});
console.log("ready");
