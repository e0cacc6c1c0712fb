// A gateway in a process of its own: `gateway-process.js <NATS URLs>`. It tells its address, and
// then answers each message with what it holds then, after a collection where it may collect, and
// with its memory when that was most.

import { startGateway } from "@jetrpc/gateway";
import { connect } from "@jetrpc/runtime/node";

/** What a gateway holds, in bytes. */
export interface Held extends NodeJS.MemoryUsage {
  readonly sockets: number;
  /** Its memory when the RSS was most. */
  readonly peak: NodeJS.MemoryUsage;
}

// Ends with the parent, however that goes.
process.on("disconnect", () => process.exit());

const servers = process.argv.slice(2);
const { url } = await startGateway({
  port: 0,
  connect: (owner) => connect({ owner, nats: { servers } }),
  limits: { maxConcurrentCalls: 100_000, maxCallsPerSecond: 10_000_000 },
});
/** How often the memory is looked at, in ms. */
const lookMs = 100;

let peak = process.memoryUsage();
setInterval(() => {
  const now = process.memoryUsage();
  peak = now.rss > peak.rss ? now : peak;
}, lookMs).unref();
process.on("message", () => {
  globalThis.gc?.();
  const sockets = process.getActiveResourcesInfo().filter((it) => it === "TCPSocketWrap").length;
  const held: Held = { ...process.memoryUsage(), sockets, peak };
  process.send?.(held);
});
process.send?.(url);
