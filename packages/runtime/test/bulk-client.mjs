// An operator's process for tests to kill in the middle of a replay of all dead letters. It
// says how far it is: how many it has replayed, and the token to go on with.
import { connect } from "@jetrpc/runtime/node";
import { createOperator } from "@jetrpc/runtime/operator";
import { TestService } from "./gen/test/v1/test_pb.js";

// Die with the parent, however it goes.
process.stdin.on("end", () => process.exit()).resume();
process.stdin.unref();

const [resumeToken] = process.argv.slice(2);
const connection = await connect();
const result = await createOperator(connection, TestService).actOnCalls(
  "replay",
  { method: "Do" },
  { resumeToken, onProgress: (p) => console.log(`${p.done} ${p.resumeToken}`) },
);
console.log(`complete, failed: ${result.failed}`);
await connection.close();
