import type { Entry } from "./log.js";
import { costOf } from "./shared-log.js";

/**
 * Most bytes of live entries that wait for their reader. An entry above it is dropped and
 * read from the log later: the log is the buffer of slow readers.
 */
const limit = 8 * 1024 * 1024;

/** Live entries that wait for their reader. */
export class LiveBuffer {
  private readonly entries: Entry[] = [];
  private bytes = 0;

  get isEmpty(): boolean {
    return this.entries.length === 0;
  }

  /** True when a further entry is to be read from the log. */
  get isFull(): boolean {
    return this.bytes > limit;
  }

  add(entry: Entry): void {
    this.entries.push(entry);
    this.bytes += costOf(entry);
  }

  take(): Entry | undefined {
    const entry = this.entries.shift();
    if (entry) {
      this.bytes -= costOf(entry);
    }
    return entry;
  }
}
