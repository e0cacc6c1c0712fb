// Follows calls through a gateway until it is ended: `followers-process.js <address> <calls>`. The
// calls are of a method that nobody serves. Says once that each follower has heard how its call is.

import { create } from "@bufbuild/protobuf";
import { anyPack } from "@bufbuild/protobuf/wkt";
import { createClient } from "@connectrpc/connect";
import { createConnectTransport } from "@connectrpc/connect-node";
import { CallService } from "@jetrpc/gateway";
import { EchoRequestSchema } from "./gen/bench/v1/bench_pb.js";

// Ends with the parent, however that goes.
process.on("disconnect", () => process.exit());

const [baseUrl = "", calls] = process.argv.slice(2);
const method = "bench.v1.BenchService/Infer";
const request = anyPack(EchoRequestSchema, create(EchoRequestSchema, {}));
/** Calls that a client follows by one connection. */
const ofConnection = 100;

/** Resolves when the call's follower has heard the first time. */
async function follow(client: ReturnType<typeof connect>): Promise<void> {
  const { callId } = await client.submit({ method, request });
  const updates = client.follow({ method, callId })[Symbol.asyncIterator]();
  await updates.next();
  void updates.next().catch(() => undefined);
}

function connect() {
  return createClient(CallService, createConnectTransport({ baseUrl, httpVersion: "2" }));
}

for (let left = Number(calls); left > 0; left -= ofConnection) {
  const client = connect();
  await Promise.all(Array.from({ length: Math.min(left, ofConnection) }, () => follow(client)));
}
process.send?.("following");
