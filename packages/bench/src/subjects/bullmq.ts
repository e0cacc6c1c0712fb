import { spawn } from "node:child_process";
import { once } from "node:events";
import { createServer } from "node:net";
import { setTimeout as delay } from "node:timers/promises";
import { Queue, QueueEvents, Worker } from "bullmq";
import { Redis } from "ioredis";
import type { Way } from "../subject.js";

const queue = "echo";

/** A Redis of one's own, on a free port, that stores nothing on disk: as fast as it gets. */
async function startRedis(): Promise<number> {
  const port = await freePort();
  const args = ["--port", `${port}`, "--bind", "127.0.0.1", "--save", "", "--loglevel", "warning"];
  await once(spawn("redis-server", ["--version"], { stdio: "ignore" }), "exit").catch((cause) => {
    throw new Error("no redis-server is on PATH: apt-get install redis-server", { cause });
  });
  // Ends when the pipe does: with this process, however that goes.
  spawn("sh", ["-c", 'redis-server "$@" & read -r _; kill -9 $!; wait', "redis-server", ...args], {
    stdio: ["pipe", "ignore", "ignore"],
  });
  const probe = new Redis(port, { lazyConnect: true, retryStrategy: () => 20 });
  probe.on("error", () => undefined);
  for (;;) {
    try {
      await probe.ping();
      break;
    } catch {
      await delay(20);
    }
  }
  probe.disconnect();
  return port;
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  server.close();
  await once(server, "close");
  return typeof address === "object" && address ? address.port : 0;
}

/** Finished jobs that Redis keeps: waitUntilFinished() asks for them. */
const kept = { count: 10_000 };

/** `add()` and `waitUntilFinished()`. */
export const bullmq: Way = {
  async serve() {
    const port = await startRedis();
    const worker = new Worker(queue, async (job) => job.data, {
      connection: { port, maxRetriesPerRequest: null },
      concurrency: 64,
    });
    await worker.waitUntilReady();
    return `${port}`;
  },

  async connect(_nats, address) {
    const connection = { port: Number(address), maxRetriesPerRequest: null };
    const jobs = new Queue(queue, { connection });
    const events = new QueueEvents(queue, { connection });
    await events.waitUntilReady();
    // Each call that waits adds a listener.
    jobs.setMaxListeners(0);
    events.setMaxListeners(0);
    return async (payload) => {
      const data = { payload: Buffer.from(payload).toString("base64") };
      const job = await jobs.add("echo", data, { removeOnComplete: kept, removeOnFail: kept });
      await job.waitUntilFinished(events);
    };
  },
};
