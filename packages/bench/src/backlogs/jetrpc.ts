import { startNats } from "@jetrpc/testing";
import { jetstreamManager } from "@nats-io/jetstream";
import { connect } from "@nats-io/transport-node";
import { BenchService } from "../gen/bench/v1/bench_pb.js";
import { client, start } from "../subjects/jetrpc.js";
import type { BacklogWay } from "./backlog-way.js";

const stream = BenchService.typeName.replaceAll(".", "_");

/** `submitAll()`. The results are stored. */
export const jetrpc: BacklogWay = {
  async startServer() {
    const server = await startNats();
    const nats = await connect({ servers: server.url });
    const manager = await jetstreamManager(nats);
    const of = async (name: string) => {
      try {
        return (await manager.streams.info(name)).state;
      } catch {
        // Not yet made, or a server that is busy.
        return { messages: 0, bytes: 0 };
      }
    };
    return {
      url: server.url,
      pid: server.pid,
      async state() {
        const [queue, log] = await Promise.all([of(stream), of(`${stream}_LOG`)]);
        return { queued: queue.messages, done: log.messages, bytes: queue.bytes + log.bytes };
      },
      async stop() {
        await nats.close();
        await server.stop();
      },
    };
  },

  async submit(url) {
    const { echoDurably } = await client([url]);
    return async (calls, payloadBytes) => {
      const payload = new Uint8Array(payloadBytes).fill(7);
      for await (const { call, error } of echoDurably.submitAll(repeat({ payload }, calls))) {
        if (!call) {
          throw error;
        }
      }
    };
  },

  async work(url) {
    await start([url]);
  },
};

/** The same item so often. */
export function* repeat<T>(item: T, times: number): Generator<T> {
  for (let i = 0; i < times; i++) {
    yield item;
  }
}
