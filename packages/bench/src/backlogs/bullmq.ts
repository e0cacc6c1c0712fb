import { startRedis } from "../redis.js";
import { asData, openQueue, work } from "../subjects/bullmq.js";
import type { BacklogWay } from "./backlog-way.js";

/** Jobs of one `addBulk()`. */
const bulk = 1000;

/** `addBulk()`. The results stay in Redis, which writes nothing to its disk. */
export const bullmq: BacklogWay = {
  async startServer() {
    const redis = await startRedis();
    const queue = openQueue(redis.port);
    return {
      url: `${redis.port}`,
      pid: redis.pid,
      async state() {
        const { waiting = 0, active = 0, completed = 0 } = await queue.getJobCounts();
        return { queued: waiting + active, done: completed };
      },
      async stop() {
        await queue.close();
        await redis.stop();
      },
    };
  },

  async submit(url) {
    const queue = openQueue(Number(url));
    return async (calls, payloadBytes) => {
      const data = asData(new Uint8Array(payloadBytes).fill(7));
      for (let left = calls; left > 0; left -= bulk) {
        const length = Math.min(bulk, left);
        await queue.addBulk(Array.from({ length }, () => ({ name: "echo", data })));
      }
    };
  },

  work: (url) => work(Number(url)),
};
