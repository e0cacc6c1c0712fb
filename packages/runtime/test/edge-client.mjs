// A client and operator of EdgeService for tests to kill. It takes commands as lines of
// JSON, and says what became of them.
import { createInterface } from "node:readline";
import { Code, createClient } from "@jetrpc/runtime";
import { connect } from "@jetrpc/runtime/node";
import { createOperator } from "@jetrpc/runtime/operator";
import { EdgeService } from "./gen/test/v1/test_pb.js";

const connection = await connect();
const client = createClient(EdgeService, connection);
const operator = createOperator(connection, EdgeService);

const commands = {
  async submit({ id, method, request, timeoutMs, notBefore }) {
    await client[method].submit(request, {
      callId: id,
      timeoutMs,
      ...(notBefore && { notBefore: new Date(notBefore) }),
    });
  },
  async follow({ id, method }) {
    const call = client[method].attach(id);
    if (method !== "flow") {
      await call.result();
      return;
    }
    const seen = [];
    for await (const { index } of call) {
      seen.push(index);
    }
    return seen.join(" ");
  },
  async cancel({ id, method }) {
    await client[method].attach(id).cancel();
  },
  async bury() {
    await operator.buryStrays();
  },
  async replay({ id }) {
    for await (const letter of operator.deadLetters({ callId: id })) {
      await letter.replay();
    }
  },
};

// Dies with the parent, however that goes.
createInterface({ input: process.stdin })
  .on("line", async (line) => {
    const { command, ...what } = JSON.parse(line);
    const said = await commands[command](what).then(
      (result = "") => `done ${result}`,
      (error) => `${Code[error.code]}`,
    );
    console.log(`${command} ${what.id}: ${said.trim()}`);
  })
  .on("close", () => process.exit());
console.log("ready");
