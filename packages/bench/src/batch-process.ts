// A client or a worker of the suite `batches`: `batch-process.js <call|work> <URL>`.
import { setTimeout as delay } from "node:timers/promises";
import { batched } from "@jetrpc/runtime";
import { connect, serve } from "@jetrpc/runtime/node";
import { BenchService } from "./gen/bench/v1/bench_pb.js";
import type { LoadFailure } from "./load.js";
import { client } from "./subjects/jetrpc.js";

/** Asks a client to submit so many calls at once, and to wait for all results. */
export interface CallRequest {
  readonly items: number;
}

/** The answer: how long that took. */
export interface CallReply {
  readonly seconds: number;
}

/** Asks a worker to serve. It answers when it does. */
export interface WorkRequest {
  /** Calls that run at once. */
  readonly concurrency: number;
  /** Items of a batch at most. Undefined: each call runs the model for itself. */
  readonly maxSize: number | undefined;
}

/** The answer of a worker to "seen": what its model did. */
export interface ModelSeen {
  readonly runs: number;
  readonly seconds: number;
}

/** What a run costs, and each of its items besides, in ms. */
const [runMs, itemMs] = [10, 1];

/** A model on a GPU: it does one run at a time, and leaves the CPU alone meanwhile. */
class Model {
  runs = 0;
  seconds = 0;
  private last = Promise.resolve();

  run(payloads: Uint8Array[]): Promise<Uint8Array[]> {
    this.last = this.last.then(async () => {
      const begin = performance.now();
      await delay(runMs + itemMs * payloads.length);
      this.seconds += (performance.now() - begin) / 1000;
      this.runs++;
    });
    return this.last.then(() => payloads);
  }
}

async function work(model: Model, { concurrency, maxSize }: WorkRequest): Promise<object> {
  const one = async (payload: Uint8Array) => (await model.run([payload]))[0] as Uint8Array;
  const infer = maxSize ? batched((items: Uint8Array[]) => model.run(items), { maxSize }) : one;
  await serve(
    BenchService,
    { infer: async ({ payload }, context) => ({ payload: await infer(payload, context) }) },
    { connection: await connect({ nats: { servers: url } }), concurrency },
  );
  return {};
}

async function call(bench: Awaited<ReturnType<typeof client>>, items: number): Promise<CallReply> {
  const payload = new Uint8Array(128).fill(7);
  const begin = performance.now();
  await Promise.all(Array.from({ length: items }, () => bench.infer({ payload })));
  return { seconds: (performance.now() - begin) / 1000 };
}

// Ends with the parent, however that goes.
process.on("disconnect", () => process.exit());

const [role, url = ""] = process.argv.slice(2);
const send = (message: unknown) => process.send?.(message);
const fail = (error: unknown) => send({ error: String(error) } satisfies LoadFailure);
if (role === "work") {
  const model = new Model();
  process.on("message", (request: WorkRequest | "seen") => {
    if (request === "seen") {
      send({ runs: model.runs, seconds: model.seconds } satisfies ModelSeen);
    } else {
      work(model, request).then(send, fail);
    }
  });
} else {
  const bench = await client([url]);
  process.on("message", ({ items }: CallRequest) => {
    call(bench, items).then(send, fail);
  });
}
send("");
