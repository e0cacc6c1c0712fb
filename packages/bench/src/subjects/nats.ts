import { connect, createInbox, type NodeConnectionOptions } from "@nats-io/transport-node";
import type { Way } from "../subject.js";

const subject = "bench.raw";

/** A worker that answers with the bytes that it got. */
async function serve(servers: string): Promise<string> {
  const nats = await connect({ servers });
  nats.subscribe(subject, {
    queue: "q",
    callback: (_error, message) => void message.respond(message.data),
  });
  await nats.flush();
  return subject;
}

/** The NATS client's own request. */
export function natsRequest(options: NodeConnectionOptions): Way {
  return {
    serve,
    async connect(servers) {
      const nats = await connect({ servers, ...options });
      return async (payload) => {
        await nats.request(subject, payload);
      };
    },
  };
}

/**
 * As little as a request can be: a subscription for all replies, a map, no timer,
 * no error handling. The limit of what any library over NATS can reach.
 */
export const bareMux: Way = {
  serve,
  async connect(servers) {
    const nats = await connect({ servers });
    const prefix = `${createInbox()}.`;
    const waiting = new Map<string, () => void>();
    let next = 0;
    nats.subscribe(`${prefix}*`, {
      callback: (_error, message) => {
        const token = message.subject.slice(prefix.length);
        const resolve = waiting.get(token);
        waiting.delete(token);
        resolve?.();
      },
    });
    return (payload) =>
      new Promise((resolve) => {
        const token = (next++).toString(36);
        waiting.set(token, resolve);
        nats.publish(subject, payload, { reply: prefix + token });
      });
  },
};
