import { readFileSync } from "node:fs";

/** Resident memory of a process, in bytes, as Linux's /proc has it. Throws when it is gone. */
function readRss(pid: number): number {
  const status = readFileSync(`/proc/${pid}/status`, "utf8");
  return 1024 * Number(status.match(/VmRSS:\s+(\d+) kB/)?.[1] ?? 0);
}

/** CPU time of a process so far, in us; /proc counts it in hundredths of a second. */
export function readCpu(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
  const [user, system] = stat.slice(stat.lastIndexOf(")")).split(" ").slice(12);
  return (Number(user) + Number(system)) * 10_000;
}

/** How often to look, in ms. */
const intervalMs = 200;

/** Watches a process from now on, until it is stopped. */
export class ProcessWatch {
  private readonly samples: number[];
  private readonly cpuBefore: number;
  private readonly timer: ReturnType<typeof setInterval>;

  constructor(private readonly pid: number) {
    this.samples = [readRss(pid)];
    this.cpuBefore = readCpu(pid);
    // A measurement that fails ends all the same.
    this.timer = setInterval(() => this.look(), intervalMs).unref();
  }

  /** Ends the watch, and tells what was seen. */
  stop(): ProcessSeen {
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
      cpuUs: readCpu(this.pid) - this.cpuBefore,
    };
  }

  private look(): void {
    try {
      this.samples.push(readRss(this.pid));
    } catch {
      // The process is gone: its next request fails.
    }
  }
}

/** A process over a time. Its resident memory is in bytes. */
export interface ProcessSeen {
  readonly first: number;
  readonly most: number;
  /** The most in the last fifth of the time, less the most in the second fifth. */
  readonly growth: number;
  /** CPU time that it took, in us. */
  readonly cpuUs: number;
}
