import { getBatch } from "./direct-batch.js";
import type { Link } from "./link.js";
import type { StoredMessage } from "./stored-message.js";
import { openReader, type Reader } from "./stream-reader.js";

/** Messages of a work queue asked for at once, at most, and headers of another stream. */
const batch = 256;
const headersBatch = 1024;

/** How much further a window reaches that follows one with few messages; the next such one squares it. */
const firstGrowth = 8;

/** The messages that a {@link BackwardReader} reads. */
export interface BackwardRange {
  readonly stream: string;
  /** Subject of the messages; it may have wildcards. */
  readonly subject: string;
  /** The first sequence that is too late. */
  readonly before: number;
  /** The first sequence that the stream has. */
  readonly first: number;
  /** True for a work queue: the server lets nobody else have a consumer there, so payloads come too. */
  readonly isQueue: boolean;
  /** True where payloads of another stream are wanted, too. */
  readonly withPayloads?: boolean | undefined;
  /** `span` of a reader that came so far. Default: as many as are wanted. */
  readonly span?: number | undefined;
}

/**
 * Reads a stream from its end to its beginning. The server reads forwards only, but counts
 * quickly how many messages of a subject lie above a sequence: so windows of sequences are
 * read one before the other, each as wide as it takes to hold about what is wanted.
 */
export class BackwardReader {
  /** All from here on was read. */
  before: number;
  /** Messages that were read so far. */
  looked = 0;
  /** When the last one of them was stored, in ms since 1970. */
  lookedBackToMs: number | undefined;
  /** Sequences of the next window; 0: as many as are wanted. */
  span: number;
  private growth = firstGrowth;
  /** Messages from `before` on, once that is known. */
  private newer: number | undefined;

  constructor(
    private readonly link: Link,
    private readonly range: BackwardRange,
  ) {
    this.before = range.before;
    this.span = range.span ?? 0;
  }

  /**
   * What `take` makes of the messages of the next window, the newest first: four times as many
   * messages as are wanted at most, perhaps none; undefined when the beginning was reached. A
   * message is forgotten when it was taken. Throws Unavailable, PermissionDenied.
   */
  async next<T>(
    wanted: number,
    take: (message: StoredMessage) => T | undefined,
  ): Promise<T[] | undefined> {
    const { before, range, newer } = this;
    if (before <= range.first) {
      return undefined;
    }
    for (;;) {
      const start = Math.max(range.first, before - (this.span || 2 * wanted));
      const width = before - start;
      const reader = await this.open(start, wanted);
      const count = Math.min(width, reader.pending - (newer ?? 0));
      if (count > 4 * wanted && width > 2 * wanted) {
        reader.close();
        // Behind a gap they lie at the far end: half of it is nearer than their share of the width.
        const part = this.growth > firstGrowth ? 0.5 : (2 * wanted) / count;
        this.span = Math.max(2 * wanted, Math.floor(width * part));
        continue;
      }
      const taken: T[] = [];
      let looked = 0;
      let oldestMs: number | undefined;
      // Not so many as were counted: some above it may be gone meanwhile. One more shows the end.
      for await (const message of reader.read(count + 1)) {
        if (message.sequence >= before) {
          break;
        }
        looked++;
        oldestMs ??= message.storedAtMs;
        const each = take(message);
        if (each !== undefined) {
          taken.push(each);
        }
      }
      this.before = start;
      this.newer = reader.pending;
      this.looked += looked;
      this.lookedBackToMs = oldestMs ?? this.lookedBackToMs;
      const isSparse = looked < wanted;
      this.span = isSparse ? width * this.growth : width;
      this.growth = isSparse ? this.growth ** 2 : firstGrowth;
      return taken.reverse();
    }
  }

  private open(from: number, wanted: number): Promise<Reader> {
    const { link, range } = this;
    const { stream, subject, isQueue, withPayloads = false } = range;
    if (isQueue) {
      return openQueue(link, stream, subject, from, Math.min(batch, 2 * wanted));
    }
    const how = { mayShrink: true, readAhead: true, batch: headersBatch };
    return openReader(link, stream, { subject, from, headersOnly: !withPayloads, ...how });
  }
}

/** The same as openReader() for a work queue. */
export async function openQueue(
  link: Link,
  stream: string,
  subject: string,
  from: number,
  most: number,
): Promise<Reader> {
  const get = (seq: number) => getBatch(link, stream, { seq, next_by_subj: subject, batch: most });
  const first = await get(from);
  return {
    pending: first.messages.length + first.pending,
    close: () => undefined,
    async *read() {
      for (let next = first; ; ) {
        yield* next.messages;
        const last = next.messages.at(-1);
        if (!last || next.pending === 0) {
          return;
        }
        next = await get(last.sequence + 1);
      }
    },
  };
}
