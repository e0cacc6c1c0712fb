import { Code, ConnectError } from "@connectrpc/connect";
import { createInbox, type Msg, nanos, nuid } from "@nats-io/nats-core";
import type { ServiceBinding } from "./binding.js";
import { type Entry, parseEntry } from "./call-log.js";
import { callApi } from "./jetstream.js";
import type { Link } from "./link.js";

/** Entries asked for at once: a bound on memory, as each may have max_payload bytes. */
const batchSize = 64;
const headersBatchSize = 1024;

/** How long the server may take for one batch, in ms. */
const batchTimeoutMs = 10_000;

/** What {@link readLog} reads. */
export interface LogRange {
  /** Subject of the log's entries. */
  readonly subject: string;
  /** First sequence to read; 0 for all. */
  readonly from: number;
  /** Leaves the payloads on the server. */
  readonly headersOnly?: boolean;
}

/** An entry that was read from the log. */
export interface StoredEntry extends Entry {
  /** When it was stored, by the server's clock, in ms since 1970. */
  readonly storedAtMs: number;
}

/**
 * Reads what a call log holds now, in order. It goes through a short-lived
 * consumer, because the permission to make one can be bound to a subject.
 */
export async function* readLog(
  link: Link,
  service: ServiceBinding,
  range: LogRange,
): AsyncGenerator<StoredEntry> {
  const name = nuid.next();
  const stream = service.logStream;
  const info = await callApi<{ num_pending: number }>(
    link,
    `CONSUMER.CREATE.${stream}.${name}.${range.subject}`,
    {
      stream_name: stream,
      action: "create",
      config: {
        name,
        filter_subject: range.subject,
        ack_policy: "none",
        replay_policy: "instant",
        headers_only: range.headersOnly ?? false,
        mem_storage: true,
        num_replicas: 1,
        inactive_threshold: nanos(60_000),
        ...(range.from > 0
          ? { deliver_policy: "by_start_sequence", opt_start_seq: range.from }
          : { deliver_policy: "all" }),
      },
    },
  );
  const most = range.headersOnly ? headersBatchSize : batchSize;
  let pending = info?.num_pending ?? 0;
  try {
    while (pending > 0) {
      const messages = await pull(link, stream, name, Math.min(pending, most));
      pending -= messages.length;
      for (const message of messages) {
        const { streamSequence, storedAtMs } = deliveryOf(message);
        const entry = parseEntry(message, streamSequence);
        if (entry) {
          yield { ...entry, storedAtMs };
        }
      }
    }
  } finally {
    // Not waited for: the server removes it by itself when this is lost.
    if (info && link.connected) {
      link.nats.publish(`$JS.API.CONSUMER.DELETE.${stream}.${name}`);
    }
  }
}

function pull(link: Link, stream: string, consumer: string, batch: number): Promise<Msg[]> {
  return new Promise((resolve, reject) => {
    const messages: Msg[] = [];
    const inbox = createInbox(link.options.inboxPrefix);
    const subscription = link.nats.subscribe(inbox, {
      max: batch,
      callback: (_error, message) => {
        if (message.subject === inbox) {
          // A status in place of a message: the batch is not complete.
          finish(`${message.headers?.code} ${message.headers?.description}`);
          return;
        }
        messages.push(message);
        if (messages.length === batch) {
          finish();
        }
      },
    });
    const timer = setTimeout(() => finish(`no answer in ${batchTimeoutMs} ms`), batchTimeoutMs);
    const finish = (problem?: string) => {
      clearTimeout(timer);
      subscription.unsubscribe();
      if (problem) {
        reject(new ConnectError(`cannot read ${stream}: ${problem}`, Code.Unavailable));
      } else {
        resolve(messages);
      }
    };
    link.nats.publish(
      `$JS.API.CONSUMER.MSG.NEXT.${stream}.${consumer}`,
      JSON.stringify({ batch, expires: nanos(batchTimeoutMs) }),
      { reply: inbox },
    );
  });
}

/** What JetStream says of a delivery, in the subject that acknowledges it (ADR-15). */
export interface Delivery {
  /** How often the message was delivered, this time included. */
  readonly deliveries: number;
  readonly streamSequence: number;
  /** When the message was stored, by the server's clock, in ms since 1970. */
  readonly storedAtMs: number;
}

/** Reads what JetStream says of a delivered message. */
export function deliveryOf(message: Msg): Delivery {
  const tokens = (message.reply ?? "").split(".");
  // $JS.ACK.<stream>.… or $JS.ACK.<domain>.<account>.<stream>.…
  const first = tokens.length === 9 ? 4 : 6;
  return {
    deliveries: Number(tokens[first]),
    streamSequence: Number(tokens[first + 1]),
    storedAtMs: Math.floor(Number(tokens[first + 3]) / 1e6),
  };
}
