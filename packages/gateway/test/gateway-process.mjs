// A gateway of its own process: NATS_URL and the port come from whoever starts it. It ends with
// its standard input; a line there is answered with what the process holds.
import { startGateway } from "@jetrpc/gateway";

const [port = "0"] = process.argv.slice(2);
const gateway = await startGateway({
  port: Number(port),
  limits: { maxConcurrentCalls: 100_000, maxCallsPerSecond: 1_000_000 },
});
console.log(gateway.url);
process.stdin.on("data", () => {
  globalThis.gc?.();
  console.log(JSON.stringify(process.memoryUsage()));
});
process.stdin.on("end", () => process.exit());
