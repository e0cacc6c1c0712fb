// One side of a subject in a process of its own:
// `process.js <serve|connect> <index of the subject> <NATS URLs> [address]`.

import { quantile } from "./figures.js";
import { makeOrder } from "./order.js";
import type { Calls, MessageKind } from "./subject.js";
import { subjects } from "./subjects/index.js";

/** Asks a client to call for so long, or so often. */
export interface RunRequest {
  readonly message: MessageKind;
  /** Size of `bytes`. */
  readonly payloadBytes: number;
  readonly inFlight: number;
  /** No call begins later. Each of those in flight makes one call at least. */
  readonly ms?: number;
  /** How many calls there are, all together. */
  readonly calls?: number;
  /** It goes on after `ms` until there are so many. */
  readonly atLeast?: number;
}

/** A client's answer. */
export interface RunReply {
  readonly calls: number;
  readonly seconds: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
}

/** A client's answer when calls fail. */
export interface RunFailure {
  readonly error: string;
}

/** The answer of each side to "usage": CPU time so far, in us, and memory, in bytes. */
export interface Usage {
  readonly cpuUs: number;
  readonly rss: number;
}

function usage(): Usage {
  const { user, system } = process.cpuUsage();
  return { cpuUs: user + system, rss: process.memoryUsage().rss };
}

async function run(calls: Calls, request: RunRequest): Promise<RunReply> {
  const { inFlight, ms = Number.POSITIVE_INFINITY, atLeast = 0 } = request;
  const call = caller(calls, request);
  let left = request.calls ?? Number.POSITIVE_INFINITY;
  const latencies: number[] = [];
  const start = performance.now();
  const end = start + ms;
  const loop = async () => {
    let now = performance.now();
    do {
      left--;
      await call();
      const after = performance.now();
      latencies.push(after - now);
      now = after;
    } while ((now < end || latencies.length < atLeast) && left > 0);
  };
  await Promise.all(Array.from({ length: inFlight }, loop));
  const seconds = (performance.now() - start) / 1000;
  return {
    calls: latencies.length,
    seconds,
    p50Ms: quantile(latencies, 0.5),
    p99Ms: quantile(latencies, 0.99),
  };
}

function caller(calls: Calls, { message, payloadBytes }: RunRequest): () => Promise<unknown> {
  if (message === "bytes") {
    const payload = new Uint8Array(payloadBytes).fill(7);
    return () => calls.bytes(payload);
  }
  const { order } = calls;
  if (!order) {
    throw new Error("this subject cannot carry an order");
  }
  return () => order(makeOrder());
}

// Ends with the parent, however that goes.
process.on("disconnect", () => process.exit());

const [role, index, natsUrls = "", address = ""] = process.argv.slice(2);
const subject = subjects[Number(index)];
if (!subject) {
  throw new Error(`there is no subject ${index}`);
}
const way = await subject.load();
const urls = natsUrls.split(",");
const send = (message: unknown) => process.send?.(message);
if (role === "serve") {
  const served = await way.serve(urls);
  process.on("message", () => send(usage()));
  send(served);
} else {
  const calls = await way.connect(urls, address);
  process.on("message", (request: RunRequest | "usage") => {
    if (request === "usage") {
      send(usage());
      return;
    }
    run(calls, request)
      .catch((error): RunFailure => ({ error: String(error) }))
      .then(send);
  });
  send("");
}
