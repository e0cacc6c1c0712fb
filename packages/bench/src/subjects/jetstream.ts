import { AckPolicy, jetstream, jetstreamManager, RetentionPolicy } from "@nats-io/jetstream";
import { connect, createInbox, headers, type NatsConnection, nuid } from "@nats-io/transport-node";
import { readOrder, writeOrder } from "../order.js";
import type { Way } from "../subject.js";

/** The stream of the hand-written worker. */
export const stream = "HAND";
const consumer = "worker";
const bytesSubject = "hand.bytes";
const orderSubject = "hand.order";

/** Makes the stream when it is not there. */
export async function makeStream(nats: NatsConnection, replicas: number): Promise<void> {
  const manager = await jetstreamManager(nats);
  await manager.streams.add({
    name: stream,
    subjects: ["hand.*"],
    retention: RetentionPolicy.Workqueue,
    num_replicas: replicas,
  });
}

/** A worker: the answer goes to the caller's inbox, then the ack. The answer is not stored. */
export async function work(nats: NatsConnection): Promise<void> {
  const manager = await jetstreamManager(nats);
  await manager.consumers.add(stream, { durable_name: consumer, ack_policy: AckPolicy.Explicit });
  const messages = await (await jetstream(nats).consumers.get(stream, consumer)).consume();
  void (async () => {
    for await (const message of messages) {
      const answer =
        message.subject === orderSubject ? writeOrder(readOrder(message.data)) : message.data;
      nats.publish(message.headers?.get("Reply-To") ?? "", answer);
      message.ack();
    }
  })();
}

/** The client's side: a publish that is awaited, and the inbox that the answer comes to. */
export function publisher(nats: NatsConnection) {
  const js = jetstream(nats);
  const inbox = createInbox();
  return {
    inbox,
    /** Resolves when the request is stored. */
    async publish(subject: string, payload: Uint8Array, id: string): Promise<void> {
      const head = headers();
      head.set("Reply-To", `${inbox}.${id}`);
      await js.publish(subject, payload, { headers: head, msgID: id });
    },
  };
}

/** Publishes a request that nobody waits for. */
export function publishBytes(
  { publish }: ReturnType<typeof publisher>,
  payload: Uint8Array,
): Promise<void> {
  return publish(bytesSubject, payload, nuid.next());
}

/**
 * The code that people write by hand: a work queue, `js.publish()` awaited, `consume()`, the
 * answer published to the caller's inbox, then the ack.
 */
export function handWritten(replicas: number): Way {
  return {
    async serve(servers) {
      const nats = await connect({ servers });
      await makeStream(nats, replicas);
      await work(nats);
      return { address: "" };
    },

    async connect(servers) {
      const nats = await connect({ servers });
      const { inbox, publish } = publisher(nats);
      const waiting = new Map<string, (answer: Uint8Array) => void>();
      nats.subscribe(`${inbox}.*`, {
        callback: (_error, message) => {
          const id = message.subject.slice(inbox.length + 1);
          waiting.get(id)?.(message.data);
          waiting.delete(id);
        },
      });
      const call = async (subject: string, payload: Uint8Array) => {
        const id = nuid.next();
        const answered = new Promise<Uint8Array>((resolve) => {
          waiting.set(id, resolve);
        });
        await publish(subject, payload, id);
        return answered;
      };
      return {
        async bytes(payload) {
          await call(bytesSubject, payload);
        },
        async order(order) {
          readOrder(await call(orderSubject, writeOrder(order)));
        },
      };
    },
  };
}
