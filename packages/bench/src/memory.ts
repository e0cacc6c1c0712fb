import { readFileSync } from "node:fs";

/** Memory of a process in Linux's /proc, in bytes. */
interface Memory {
  /** Resident now. */
  readonly rss: number;
  /** The most that ever was. */
  readonly peakRss: number;
}

/** Reads the memory of a process. Throws when there is none, or no /proc. */
function readMemory(pid: number): Memory {
  const status = readFileSync(`/proc/${pid}/status`, "utf8");
  const bytes = (name: string) => 1024 * Number(status.match(`${name}:\\s+(\\d+) kB`)?.[1] ?? 0);
  return { rss: bytes("VmRSS"), peakRss: bytes("VmHWM") };
}

/** How often to look, in ms. */
const intervalMs = 200;

/** Watches the memory of a process from now on, until it is stopped. */
export class MemoryWatch {
  private readonly samples: number[];
  private readonly timer: ReturnType<typeof setInterval>;

  constructor(private readonly pid: number) {
    this.samples = [readMemory(pid).rss];
    this.timer = setInterval(() => this.look(), intervalMs);
  }

  /** Ends the watch, and tells what was seen, in bytes. */
  stop(): MemorySeen {
    clearInterval(this.timer);
    this.look();
    const part = (from: number, to: number) => {
      const { length } = this.samples;
      return Math.max(...this.samples.slice(Math.floor(from * length), Math.ceil(to * length)));
    };
    return {
      first: this.samples[0] ?? 0,
      most: part(0, 1),
      growth: part(0.8, 1) - part(0.2, 0.4),
    };
  }

  private look(): void {
    try {
      this.samples.push(readMemory(this.pid).rss);
    } catch {
      // The process is gone: whoever talks to it finds out.
    }
  }
}

/** Memory of a process over a time, in bytes. */
export interface MemorySeen {
  readonly first: number;
  readonly most: number;
  /** The most in the last fifth of the time, less the most in the second fifth. */
  readonly growth: number;
}
