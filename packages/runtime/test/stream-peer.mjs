// One side of direct streams in a process of its own, for tests to kill: a
// worker, or a caller (`caller`). It says what happens to it.
import { createClient } from "@jetrpc/runtime";
import { connect, serve } from "@jetrpc/runtime/node";
import { TestService } from "./gen/test/v1/test_pb.js";

// Die with the parent, however it goes.
process.stdin.on("end", () => process.exit()).resume();
process.stdin.unref();

if (process.argv[2] === "caller") {
  const client = createClient(TestService, await connect());
  async function* forever() {
    yield { text: "hello" };
    await new Promise(() => undefined);
  }
  for await (const { text } of client.chat(forever())) {
    console.log(text);
  }
} else {
  await serve(TestService, {
    get: () => {
      if (process.argv[2] === "answer") {
        return {};
      }
      console.log("asked");
      return new Promise(() => undefined);
    },
    async *chat(requests) {
      for await (const { text } of requests) {
        yield { text: `${text}!` };
      }
    },
  });
  console.log("ready");
}
