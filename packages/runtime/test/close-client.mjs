// Serves and calls on one connection, closes it, and has to end by itself.
import { createClient, startWorker } from "@jetrpc/runtime";
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
await client.get({}).catch(() => undefined);
setImmediate(() => {
  console.log(
    "timers left:",
    process.getActiveResourcesInfo().filter((it) => it === "Timeout").length,
  );
});
