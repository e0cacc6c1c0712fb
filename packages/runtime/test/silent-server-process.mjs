// Serves and calls on one connection. Told to stop, it drains and closes although the
// server says nothing, and has to end by itself.
import { once } from "node:events";
import { createInterface } from "node:readline";
import { createClient, startWorker } from "@jetrpc/runtime";
import { connect } from "@jetrpc/runtime/node";
import { TestService } from "./gen/test/v1/test_pb.js";

// Die with the parent, however it goes.
const lines = createInterface({ input: process.stdin });
const die = () => process.exit(1);
lines.on("close", die);

const [how] = process.argv.slice(2);
const connection = await connect();
let begun;
const running = new Promise((resolve) => {
  begun = resolve;
});
const impl = {
  get: () => ({}),
  do: () => {
    begun();
    return new Promise(() => undefined);
  },
};
const worker = await startWorker(TestService, impl, connection, { drainTimeoutMs: 500 });
const client = createClient(TestService, connection);
const call = await client.do.submit({});
call.result().catch(() => undefined);
await running;
console.log("running");
await once(lines, "line");
if (how === "lost") {
  // It is made anew at a server that does not greet.
  await connection.nats.reconnect();
}
await worker.drain();
console.log("drained");
await connection.close();
await worker.closed;
console.log("closed");
lines.off("close", die);
lines.close();
process.stdin.destroy();
