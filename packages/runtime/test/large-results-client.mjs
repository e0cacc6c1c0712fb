// A client that stands still while its results are stored, until a file is there.
import { existsSync } from "node:fs";
import { createClient } from "@jetrpc/runtime";
import { connect } from "@jetrpc/runtime/node";
import { TestService } from "./gen/test/v1/test_pb.js";

const [count, file] = process.argv.slice(2);
const connection = await connect();
const client = createClient(TestService, connection);
let cuts = 0;
const watching = (async () => {
  for await (const { type } of connection.nats.status()) {
    cuts += type === "disconnect" ? 1 : 0;
  }
})();
const results = Promise.all(
  Array.from({ length: Number(count) }, async () => (await client.picky({})).data.length),
);
process.stdin.once("data", () => {
  console.log("stands still");
  const never = new Int32Array(new SharedArrayBuffer(4));
  while (!existsSync(file)) {
    Atomics.wait(never, 0, 0, 20);
  }
});
const sizes = await results;
const cutBefore = cuts;
await connection.close();
await watching;
console.log(JSON.stringify({ cuts: cutBefore, sizes: [...new Set(sizes)] }));
process.exit();
