// Serves and calls on one connection, closes it, and has to end by itself.
import { Code, createClient, startWorker } from "@jetrpc/runtime";
import { connect } from "@jetrpc/runtime/node";
import { TestService } from "./gen/test/v1/test_pb.js";

// Die with the parent, however it goes.
process.stdin.on("end", () => process.exit(1)).resume();
process.stdin.unref();

const connection = await connect();
const impl = { get: () => ({}), do: () => ({}), urgent: () => ({}) };
const worker = await startWorker(TestService, impl, connection);
const client = createClient(TestService, connection);
await client.get({});
await connection.close();
await worker.closed;
// No call on a closed connection may end the process: each rejects, and nothing else does.
const { do: run, count } = client;
for (const call of [
  () => client.get({}),
  () => run({}),
  () => run.submit({}),
  () => run.attach("x").result(),
  () => run.attach("x").cancel(),
  () => count({})[Symbol.asyncIterator]().next(),
  () => run.attach("x").progress()[Symbol.asyncIterator]().next(),
]) {
  await call().then(
    () => console.log("a call did not fail"),
    (error) => error.code === Code.Unavailable || console.log(error),
  );
}
setImmediate(() => {
  console.log(
    "timers left:",
    process.getActiveResourcesInfo().filter((it) => it === "Timeout").length,
  );
});
