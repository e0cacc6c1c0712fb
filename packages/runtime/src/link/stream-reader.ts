import { Code, ConnectError } from "@connectrpc/connect";
import { nanos } from "@nats-io/nats-core";
import { callApi } from "./jetstream.js";
import type { Link } from "./link.js";
import { Pull, type PullSource } from "./pull.js";
import { createSecret } from "./secret.js";
import { deliveredMessage, type StoredMessage } from "./stored-message.js";

/** How long the server may take for one batch, in ms. */
const batchTimeoutMs = 10_000;

/** The size that a batch should have, and the assumed size of the first message, in bytes. */
const batchBytes = 1024 * 1024;
const firstBytes = 128 * 1024;

/** Messages that are asked for at once after those that were expected. */
const unexpected = 64;

/** The bytes that a message takes besides its payload. */
const overheadBytes = 512;

/** The messages that {@link readStream} reads. */
export interface StreamRange {
  /** Subject of the messages; it may have wildcards. */
  readonly subject: string;
  /** First sequence to read; 0 for all. */
  readonly from: number;
  /** Leaves the payloads on the server. */
  readonly headersOnly?: boolean;
  /**
   * Reads the last message of each subject only, and does not wait for those that
   * are removed meanwhile.
   */
  readonly lastPerSubject?: boolean;
  /** Does not wait for messages that are removed meanwhile. */
  readonly mayShrink?: boolean;
  /** Messages asked for at once, at most: a bound on memory. */
  readonly batch: number;
  /** Asks for the next batch before the last one was taken: holds two in memory. */
  readonly readAhead?: boolean;
}

/**
 * Reads what a stream holds now, in order. It goes through a short-lived
 * consumer, because the permission to make one can be bound to a subject.
 *
 * Throws Unavailable when the server does not answer or the connection is lost.
 */
export async function* readStream(
  link: Link,
  stream: string,
  range: StreamRange,
): AsyncGenerator<StoredMessage, void, undefined> {
  yield* (await openReader(link, stream, range)).read();
}

/** The messages of a stream from one on, counted and not read yet. */
export interface Reader {
  /** How many there are. */
  readonly pending: number;
  /** Reads them. Once only. Does not ask for many more than are expected at once. */
  read(expected?: number): AsyncIterable<StoredMessage>;
  /** Where they are not read: the server may forget them. */
  close(): void;
}

/** The same as {@link readStream}, for who has to know how many there are before. */
export async function openReader(link: Link, stream: string, range: StreamRange): Promise<Reader> {
  // Others may pull from consumers of this stream: they must not guess the name.
  const name = createSecret();
  const info = await callApi<{ num_pending: number }>(
    link,
    `CONSUMER.CREATE.${stream}.${name}.${range.subject}`,
    { stream_name: stream, action: "create", config: consumerConfig(name, range) },
  );
  const close = () => {
    // Not waited for: the server removes it by itself when this is lost.
    if (info && link.connected) {
      link.publish(`${link.api}CONSUMER.DELETE.${stream}.${name}`);
    }
  };
  const pending = info?.num_pending ?? 0;
  const read = (expected?: number) =>
    pullAll(link, { stream, consumer: name }, range, pending, close, expected);
  return { pending, read, close };
}

async function* pullAll(
  link: Link,
  source: PullSource,
  range: StreamRange,
  count: number,
  close: () => void,
  expected = count,
): AsyncGenerator<StoredMessage, void, undefined> {
  const mayShrink = range.mayShrink ?? range.lastPerSubject;
  let pending = count;
  let size = range.headersOnly ? 1024 : firstBytes;
  let left = expected;
  let asked = 0;
  const pullNext = () => {
    const fitting = Math.max(1, Math.floor(batchBytes / size));
    const wanted = Math.min(pending, range.batch, fitting, left > 0 ? left : unexpected);
    pending -= wanted;
    left -= wanted;
    asked = wanted;
    // When what is being read leaves room for it.
    const batch =
      wanted > 0
        ? link.reads.hold(size * wanted, () => pullBatch(link, source, wanted, mayShrink))
        : undefined;
    // Its failure is told where it is awaited.
    batch?.catch(() => undefined);
    return batch;
  };
  try {
    let next = pullNext();
    while (next) {
      const messages = await next;
      const wanted = asked;
      for (const { data } of messages) {
        size = Math.max(size / 2, data.length + overheadBytes);
      }
      next = range.readAhead && left > 0 ? pullNext() : undefined;
      yield* messages;
      if (mayShrink && messages.length < wanted) {
        return;
      }
      next ??= pullNext();
    }
  } finally {
    close();
  }
}

function consumerConfig(name: string, range: StreamRange): object {
  const { subject, from, headersOnly = false, lastPerSubject } = range;
  return {
    name,
    filter_subject: subject,
    ack_policy: "none",
    replay_policy: "instant",
    headers_only: headersOnly,
    mem_storage: true,
    num_replicas: 1,
    inactive_threshold: nanos(60_000),
    ...(from > 0
      ? { deliver_policy: "by_start_sequence", opt_start_seq: from }
      : { deliver_policy: lastPerSubject ? "last_per_subject" : "all" }),
  };
}

/** Pulls a batch: fewer messages only when those left out may have been removed. */
function pullBatch(
  link: Link,
  source: PullSource,
  batch: number,
  mayShrink = false,
): Promise<StoredMessage[]> {
  return new Promise((resolve, reject) => {
    const messages: StoredMessage[] = [];
    const fail = (problem: string) =>
      reject(new ConnectError(`cannot read ${source.stream}: ${problem}`, Code.Unavailable));
    if (!link.connected) {
      fail("the connection is lost");
      return;
    }
    const pull = new Pull(link, source, {
      message(message) {
        try {
          messages.push(deliveredMessage(message));
        } catch (error) {
          void pull.leave();
          reject(error);
        }
        if (messages.length === batch) {
          void pull.leave();
          resolve(messages);
        }
      },
      ended(end) {
        void pull.leave();
        if (end === "over" && mayShrink) {
          resolve(messages);
        } else {
          fail(endTexts[String(end)] ?? (end as { refused: string }).refused);
        }
      },
    });
    // Without a time the server says when nothing is left: a slow one is not taken for an empty one.
    pull.ask(mayShrink ? { batch } : { batch, expiresMs: batchTimeoutMs });
  });
}

const endTexts: Record<string, string> = {
  over: `not all came within ${batchTimeoutMs} ms`,
  lost: "the connection is lost, or the server is silent",
};
