import { Code, ConnectError } from "@connectrpc/connect";
import type { Msg } from "@nats-io/nats-core";
import type { Link } from "../link/link.js";
import { readStream, type StreamRange } from "../link/stream-reader.js";
import { quote, wholeNumber } from "../message/header.js";
import type { ServiceBinding } from "../schema/binding.js";
import { type Entry, parseEntry } from "./call-log.js";

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

/** Reads what a call log holds now, in order. Errors: those of {@link parseEntry}. */
export async function* readLog(
  link: Link,
  service: ServiceBinding,
  range: LogRange,
): AsyncGenerator<StoredEntry> {
  const batch = range.headersOnly ? headersBatchSize : batchSize;
  for await (const message of readStream(link, service.logStream, { ...range, batch })) {
    const { streamSequence, storedAtMs } = deliveryOf(message);
    yield { ...parseEntry(message, streamSequence), storedAtMs };
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

/** Reads what JetStream says of a delivered message. Throws DataLoss for what it did not deliver. */
export function deliveryOf(message: Msg): Delivery {
  const tokens = (message.reply ?? "").split(".");
  // $JS.ACK.<stream>.… or $JS.ACK.<domain>.<account>.<stream>.…
  const first = tokens.length === 9 ? 4 : 6;
  const deliveries = wholeNumber(tokens[first]);
  const streamSequence = wholeNumber(tokens[first + 1]);
  const storedAtNs = tokens[first + 3] ?? "";
  if (!deliveries || !streamSequence || !/^\d{1,19}$/.test(storedAtNs)) {
    throw new ConnectError(
      `a message on ${message.subject} was not delivered by JetStream: its reply subject is ${quote(message.reply ?? "")}`,
      Code.DataLoss,
    );
  }
  return { deliveries, streamSequence, storedAtMs: Math.floor(Number(storedAtNs) / 1e6) };
}
