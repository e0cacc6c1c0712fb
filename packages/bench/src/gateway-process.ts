// A gateway in a process of its own: `gateway-process.js <NATS URLs>`. It tells its address, and
// then answers each message with the memory that it uses after a collection, in bytes, where
// it may collect.

import { startGateway } from "@jetrpc/gateway";
import { connect } from "@jetrpc/runtime/node";

// Ends with the parent, however that goes.
process.on("disconnect", () => process.exit());

const servers = process.argv.slice(2);
const { url } = await startGateway({
  port: 0,
  connect: (owner) => connect({ owner, nats: { servers } }),
  limits: { maxConcurrentCalls: 100_000, maxCallsPerSecond: 10_000_000 },
});
process.on("message", () => {
  globalThis.gc?.();
  process.send?.(process.memoryUsage());
});
process.send?.(url);
