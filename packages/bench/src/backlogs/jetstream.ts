import { startNats } from "@jetrpc/testing";
import { jetstreamManager } from "@nats-io/jetstream";
import { connect } from "@nats-io/transport-node";
import { makeStream, publishBytes, publisher, stream, work } from "../subjects/jetstream.js";
import type { BacklogWay } from "./backlog-way.js";

/** Publishes under way at once, each of which is awaited. */
const inFlight = 256;

/** `js.publish()` awaited, `consume()`. The results are not stored. */
export const handWritten: BacklogWay = {
  async startServer() {
    const server = await startNats();
    const nats = await connect({ servers: server.url });
    await makeStream(nats, 1);
    const manager = await jetstreamManager(nats);
    return {
      url: server.url,
      pid: server.pid,
      async state() {
        const { messages, bytes } = (await manager.streams.info(stream)).state;
        return { queued: messages, bytes };
      },
      async stop() {
        await nats.close();
        await server.stop();
      },
    };
  },

  async submit(url) {
    const client = publisher(await connect({ servers: url }));
    return async (calls, payloadBytes) => {
      const payload = new Uint8Array(payloadBytes).fill(7);
      let left = calls;
      const loop = async () => {
        while (left-- > 0) {
          await publishBytes(client, payload);
        }
      };
      await Promise.all(Array.from({ length: inFlight }, loop));
    };
  },

  async work(url) {
    await work(await connect({ servers: url }));
  },
};
