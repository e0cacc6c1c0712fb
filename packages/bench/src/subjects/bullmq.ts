import { Queue, QueueEvents, Worker } from "bullmq";
import { orderAsJson } from "../order.js";
import { startRedis } from "../redis.js";
import type { Way } from "../subject.js";

const queue = "echo";

/** Finished jobs that Redis keeps: waitUntilFinished() asks for them. */
const kept = { count: 10_000 };

/** A worker, which answers with what it got. */
export async function work(port: number): Promise<void> {
  const worker = new Worker(queue, async (job) => job.data, {
    connection: { port, maxRetriesPerRequest: null },
    concurrency: 64,
  });
  await worker.waitUntilReady();
}

/** The queue, for its clients. */
export function openQueue(port: number): Queue {
  return new Queue(queue, { connection: { port, maxRetriesPerRequest: null } });
}

/** Bytes as the data of a job, which is JSON. */
export function asData(payload: Uint8Array) {
  return { payload: Buffer.from(payload).toString("base64") };
}

/** `add()` and `waitUntilFinished()`. */
export const bullmq: Way = {
  async serve() {
    const redis = await startRedis();
    await work(redis.port);
    return { address: `${redis.port}`, serverPids: [redis.pid] };
  },

  async connect(_nats, address) {
    const jobs = openQueue(Number(address));
    const events = new QueueEvents(queue, { connection: jobs.opts.connection });
    await events.waitUntilReady();
    // Each call that waits adds a listener.
    jobs.setMaxListeners(0);
    events.setMaxListeners(0);
    const call = async (data: object) => {
      const job = await jobs.add("echo", data, { removeOnComplete: kept, removeOnFail: kept });
      await job.waitUntilFinished(events);
    };
    // Apps give BullMQ plain objects: it costs nothing to make one of a message.
    const order = { order: orderAsJson() };
    return { bytes: (payload) => call(asData(payload)), order: () => call(order) };
  },
};
