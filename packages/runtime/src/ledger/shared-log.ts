import type { Link } from "../link/link.js";
import type { ServiceBinding } from "../schema/binding.js";
import { type Entry, readLog } from "./log.js";

/** Entries that are read at once. */
const pageSize = 64;

/** Bytes of pages that are kept for followers who come after. */
const keptBytes = 8 * 1024 * 1024;

/** Bytes that an entry takes besides its payload: its message, its headers, and itself. */
const entryBytes = 1024;

/** The bytes that an entry takes in memory. */
export function costOf({ message }: Entry): number {
  return message.data.length + entryBytes;
}

/** Some entries of a log, in order. */
export interface Page {
  readonly entries: readonly Entry[];
  /** True when the log held no more. */
  readonly isLast: boolean;
}

interface KeptPage {
  readonly page: Promise<Page>;
  /** 0 while it is being read. */
  cost: number;
}

/**
 * Reads the log of one call for all of its followers in this process: what several
 * want is read once, and so are there as few consumers at the server as can be. Who
 * lags far behind the others reads by itself.
 */
export class SharedLog {
  private readers = 0;
  /** By the sequence that they begin with. */
  private readonly pages = new Map<number, KeptPage>();
  private cost = 0;
  /** Readers that have read all before a sequence, and can go on there. */
  private readonly waiting = new Map<number, AsyncGenerator<Entry>>();

  constructor(
    private readonly link: Link,
    private readonly service: ServiceBinding,
    private readonly subject: string,
    private readonly onUnused: () => void,
  ) {}

  /** A follower begins to read. */
  enter(): void {
    this.readers++;
  }

  /** A follower reads no more; with the last one, what is held for them goes. */
  leave(): void {
    if (--this.readers === 0) {
      this.onUnused();
      this.pages.clear();
      for (const reader of this.waiting.values()) {
        void reader.return(undefined);
      }
      this.waiting.clear();
    }
  }

  /** Reads entries from a sequence on; 0 for all. Errors: those of {@link readLog}. */
  read(from: number): Promise<Page> {
    const known = this.pages.get(from);
    if (known) {
      return known.page;
    }
    const reader =
      this.waiting.get(from) ?? readLog(this.link, this.service, { subject: this.subject, from });
    this.waiting.delete(from);
    const page = this.readPage(reader);
    const kept: KeptPage = { page, cost: 0 };
    this.pages.set(from, kept);
    page.then(
      (read) => this.keep(from, kept, read),
      () => this.drop(from, kept),
    );
    return page;
  }

  private async readPage(reader: AsyncGenerator<Entry>): Promise<Page> {
    const entries: Entry[] = [];
    while (entries.length < pageSize) {
      const { value, done } = await reader.next();
      if (done) {
        return { entries, isLast: true };
      }
      entries.push(value);
    }
    const next = (entries.at(-1) as Entry).sequence + 1;
    if (this.readers > 0 && !this.waiting.has(next)) {
      this.waiting.set(next, reader);
    } else {
      void reader.return(undefined);
    }
    return { entries, isLast: false };
  }

  /** Keeps a page for others, unless the log may go on after it. */
  private keep(from: number, kept: KeptPage, { entries, isLast }: Page): void {
    if (isLast || this.readers < 2) {
      this.drop(from, kept);
      return;
    }
    for (const entry of entries) {
      kept.cost += costOf(entry);
    }
    this.cost += kept.cost;
    for (const [oldest, page] of this.pages) {
      if (this.cost <= keptBytes) {
        break;
      }
      this.drop(oldest, page);
    }
  }

  private drop(from: number, kept: KeptPage): void {
    if (this.pages.get(from) === kept) {
      this.pages.delete(from);
      this.cost -= kept.cost;
    }
  }
}

/** The logs that followers of a connection read. */
export class SharedLogs {
  private readonly logs = new Map<string, SharedLog>();

  constructor(private readonly link: Link) {}

  /** The log of a call, for a follower that calls leave() when it has read it. */
  open(service: ServiceBinding, subject: string): SharedLog {
    let log = this.logs.get(subject);
    if (!log) {
      const unused = () => this.logs.delete(subject);
      log = new SharedLog(this.link, service, subject, unused);
      this.logs.set(subject, log);
    }
    log.enter();
    return log;
  }
}

/** Reads the log of one call for one follower, entry by entry. */
export class LogReader {
  private log: SharedLog | undefined;
  private page: Page | undefined;
  private read = 0;

  constructor(
    private readonly logs: SharedLogs,
    private readonly service: ServiceBinding,
    private readonly subject: string,
  ) {}

  /** The next entry that is loaded; undefined when it is time to {@link load} more. */
  take(): Entry | undefined {
    return this.page?.entries[this.read++];
  }

  /**
   * Loads entries after a sequence, 0 for the whole log. False when the log holds no more; then
   * it has left. Errors: those of {@link readLog}.
   */
  async load(sequence: number): Promise<boolean> {
    if (this.page?.isLast) {
      this.leave();
      return false;
    }
    this.log ??= this.logs.open(this.service, this.subject);
    this.page = await this.log.read(sequence && sequence + 1);
    this.read = 0;
    return true;
  }

  /** Holds nothing of the log any more. */
  leave(): void {
    this.log?.leave();
    this.log = undefined;
    this.page = undefined;
    this.read = 0;
  }
}
