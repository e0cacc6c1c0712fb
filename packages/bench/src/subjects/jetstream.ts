import { AckPolicy, jetstream, jetstreamManager, RetentionPolicy } from "@nats-io/jetstream";
import { connect, createInbox, headers, nuid } from "@nats-io/transport-node";
import type { Way } from "../subject.js";

const stream = "HAND";
const subject = "hand.jobs";
const consumer = "worker";

/**
 * The code that people write by hand: a work queue, `js.publish()` awaited, `consume()`, the
 * answer published to the caller's inbox, then the ack. The answer is not stored.
 */
export const handWritten: Way = {
  async serve(servers) {
    const nats = await connect({ servers });
    const manager = await jetstreamManager(nats);
    await manager.streams.add({
      name: stream,
      subjects: [subject],
      retention: RetentionPolicy.Workqueue,
    });
    await manager.consumers.add(stream, { durable_name: consumer, ack_policy: AckPolicy.Explicit });
    const messages = await (await jetstream(nats).consumers.get(stream, consumer)).consume();
    void (async () => {
      for await (const message of messages) {
        nats.publish(message.headers?.get("Reply-To") ?? "", message.data);
        message.ack();
      }
    })();
    return subject;
  },

  async connect(servers) {
    const nats = await connect({ servers });
    const js = jetstream(nats);
    const inbox = createInbox();
    const waiting = new Map<string, () => void>();
    nats.subscribe(`${inbox}.*`, {
      callback: (_error, message) => {
        waiting.get(message.subject)?.();
        waiting.delete(message.subject);
      },
    });
    return async (payload) => {
      const id = nuid.next();
      const reply = `${inbox}.${id}`;
      const answered = new Promise<void>((resolve) => {
        waiting.set(reply, resolve);
      });
      const head = headers();
      head.set("Reply-To", reply);
      await js.publish(subject, payload, { headers: head, msgID: id });
      await answered;
    };
  },
};
