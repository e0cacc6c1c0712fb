import type { Msg } from "@nats-io/nats-core";
import type { ServiceBinding } from "./binding.js";
import { type Entry, parseEntry } from "./call-log.js";
import type { Link } from "./link.js";
import { readStream, type StreamRange } from "./stream-reader.js";

/** Entries asked for at once: a bound on memory, as each may have max_payload bytes. */
const batchSize = 64;
const headersBatchSize = 1024;

/** What {@link readLog} reads. */
type LogRange = Pick<StreamRange, "subject" | "from" | "headersOnly">;

/** An entry that was read from the log. */
export interface StoredEntry extends Entry {
  /** When it was stored, by the server's clock, in ms since 1970. */
  readonly storedAtMs: number;
}

/** Reads what a call log holds now, in order. */
export async function* readLog(
  link: Link,
  service: ServiceBinding,
  range: LogRange,
): AsyncGenerator<StoredEntry> {
  const batch = range.headersOnly ? headersBatchSize : batchSize;
  for await (const message of readStream(link, service.logStream, { ...range, batch })) {
    const { streamSequence, storedAtMs } = deliveryOf(message);
    const entry = parseEntry(message, streamSequence);
    if (entry) {
      yield { ...entry, storedAtMs };
    }
  }
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
