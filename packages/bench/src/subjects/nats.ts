import { connect, createInbox, type NodeConnectionOptions } from "@nats-io/transport-node";
import { readOrder, writeOrder } from "../order.js";
import type { Served, Way } from "../subject.js";

const bytesSubject = "bench.bytes";
const orderSubject = "bench.order";

/** A worker that answers with what it got: with the same bytes, or with an order that it has read. */
async function serve(servers: string[]): Promise<Served> {
  const nats = await connect({ servers });
  nats.subscribe(bytesSubject, {
    queue: "q",
    callback: (_error, message) => void message.respond(message.data),
  });
  nats.subscribe(orderSubject, {
    queue: "q",
    callback: (_error, message) => void message.respond(writeOrder(readOrder(message.data))),
  });
  await nats.flush();
  return { address: "" };
}

/** A busy machine takes longer than the second that is the default. */
const patience = { timeout: 30_000 };

/** The NATS client's own request. */
export function natsRequest(options: NodeConnectionOptions): Way {
  return {
    serve,
    async connect(servers) {
      const nats = await connect({ servers, ...options });
      return {
        async bytes(payload) {
          await nats.request(bytesSubject, payload, { ...patience });
        },
        async order(order) {
          readOrder((await nats.request(orderSubject, writeOrder(order), { ...patience })).data);
        },
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
    const waiting = new Map<string, (reply: Uint8Array) => void>();
    let next = 0;
    nats.subscribe(`${prefix}*`, {
      callback: (_error, message) => {
        const token = message.subject.slice(prefix.length);
        const resolve = waiting.get(token);
        waiting.delete(token);
        resolve?.(message.data);
      },
    });
    const request = (subject: string, payload: Uint8Array) =>
      new Promise<Uint8Array>((resolve) => {
        const token = (next++).toString(36);
        waiting.set(token, resolve);
        nats.publish(subject, payload, { reply: prefix + token });
      });
    return {
      bytes: (payload) => request(bytesSubject, payload),
      async order(order) {
        readOrder(await request(orderSubject, writeOrder(order)));
      },
    };
  },
};
