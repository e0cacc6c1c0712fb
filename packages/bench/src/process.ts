// One side of a subject in a process of its own:
// `process.js <serve|connect> <index of the subject> <NATS URL> [address]`.
import { subjects } from "./subjects/index.js";

/** A request of main.ts to a client. */
export interface RunRequest {
  readonly payloadBytes: number;
  readonly inFlight: number;
  readonly ms: number;
}

/** A client's answer. */
export interface RunReply {
  readonly calls: number;
  readonly seconds: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly usage: Usage;
}

/** A client's answer when calls fail. */
export interface RunFailure {
  readonly error: string;
}

/** CPU time of a process so far, in us, and its memory, in bytes. */
export interface Usage {
  readonly cpuUs: number;
  readonly rss: number;
}

function usage(): Usage {
  const { user, system } = process.cpuUsage();
  return { cpuUs: user + system, rss: process.memoryUsage().rss };
}

async function run(
  call: (payload: Uint8Array) => Promise<void>,
  { payloadBytes, inFlight, ms }: RunRequest,
): Promise<RunReply> {
  const payload = new Uint8Array(payloadBytes).fill(7);
  const latencies: number[] = [];
  const start = performance.now();
  const end = start + ms;
  const loop = async () => {
    let now = performance.now();
    // At least one call each, also on a machine that is very busy.
    do {
      await call(payload);
      const after = performance.now();
      latencies.push(after - now);
      now = after;
    } while (now < end);
  };
  await Promise.all(Array.from({ length: inFlight }, loop));
  const seconds = (performance.now() - start) / 1000;
  latencies.sort((a, b) => a - b);
  const quantile = (q: number) => latencies[Math.floor(q * (latencies.length - 1))] ?? 0;
  return {
    calls: latencies.length,
    seconds,
    p50Ms: quantile(0.5),
    p99Ms: quantile(0.99),
    usage: usage(),
  };
}

// Ends with the parent, however that goes.
process.on("disconnect", () => process.exit());

const [role, index, natsUrl = "", address = ""] = process.argv.slice(2);
const subject = subjects[Number(index)];
if (!subject) {
  throw new Error(`there is no subject ${index}`);
}
const send = (message: unknown) => process.send?.(message);
if (role === "serve") {
  const where = await (await subject.load()).serve(natsUrl);
  process.on("message", () => send(usage()));
  send(where);
} else {
  const call = await (await subject.load()).connect(natsUrl, address);
  process.on("message", (request: RunRequest) => {
    run(call, request)
      .catch((error): RunFailure => ({ error: String(error) }))
      .then(send);
  });
  send("");
}
