import { Code, ConnectError } from "@connectrpc/connect";
import { nanos } from "@nats-io/nats-core";
import { callApi } from "./jetstream.js";
import type { Link } from "./link.js";
import { Pull, type PullSource } from "./pull.js";
import { createSecret } from "./secret.js";
import { deliveredMessage, type StoredMessage } from "./stored-message.js";

/** How long the server may take for one batch, in ms. */
const batchTimeoutMs = 10_000;

/** The same where messages may be removed meanwhile. */
const shrinkingTimeoutMs = 1_000;

/** The size that a batch should have, and the assumed size of the first message, in bytes. */
const batchBytes = 1024 * 1024;
const firstBytes = 128 * 1024;

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
  // Others may pull from consumers of this stream: they must not guess the name.
  const name = createSecret();
  const info = await callApi<{ num_pending: number }>(
    link,
    `CONSUMER.CREATE.${stream}.${name}.${range.subject}`,
    { stream_name: stream, action: "create", config: consumerConfig(name, range) },
  );
  let pending = info?.num_pending ?? 0;
  let size = range.headersOnly ? 1024 : firstBytes;
  let asked = 0;
  const pullNext = () => {
    const wanted = Math.min(pending, range.batch, Math.max(1, Math.floor(batchBytes / size)));
    pending -= wanted;
    asked = wanted;
    const source = { stream, consumer: name };
    const { lastPerSubject } = range;
    // When what is being read leaves room for it.
    const batch =
      wanted > 0
        ? link.reads.hold(size * wanted, () => pullBatch(link, source, wanted, lastPerSubject))
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
      next = range.readAhead ? pullNext() : undefined;
      yield* messages;
      if (range.lastPerSubject && messages.length < wanted) {
        return;
      }
      next ??= pullNext();
    }
  } finally {
    // Not waited for: the server removes it by itself when this is lost.
    if (info && link.connected) {
      link.publish(`${link.api}CONSUMER.DELETE.${stream}.${name}`);
    }
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
    pull.ask({ batch, expiresMs: mayShrink ? shrinkingTimeoutMs : batchTimeoutMs });
  });
}

const endTexts: Record<string, string> = {
  over: `not all came within ${batchTimeoutMs} ms`,
  lost: "the connection is lost, or the server is silent",
};
