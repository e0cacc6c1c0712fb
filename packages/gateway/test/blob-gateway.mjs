// A gateway in a process of its own: prints its URL, and each line that it reads is answered with
// the most memory that it had since the last one, in MB.
import { createInterface } from "node:readline";
import { startGateway } from "@jetrpc/gateway";
import { connect } from "@jetrpc/runtime/node";

const servers = process.env.NATS_URL;
const gateway = await startGateway({
  port: 0,
  connect: (owner) => connect({ owner, nats: { servers } }),
});
console.log(gateway.url);
let most = 0;
setInterval(() => {
  most = Math.max(most, process.memoryUsage.rss());
}, 20);
const lines = createInterface({ input: process.stdin });
lines.on("line", () => {
  console.log(`rss ${Math.ceil(most / 2 ** 20)}`);
  most = 0;
});
lines.on("close", () => process.exit());
