import type { Journal } from "./journal.js";
import type { MemorySample } from "./message.js";

const intervalMs = 5_000;

/** A process is warm from then on, in ms. */
const warmMs = 60_000;

/** The least of so long is compared: how much is garbage changes with every sample. */
const windowMs = 60_000;

/** Memory that comes and goes with the calls under way is no growth. */
const slackFactor = 1.5;
const slackBytes = 48 * 1024 * 1024;

/** Notes from time to time what this process has in memory. */
export function noteMemory(journal: Journal): void {
  const note = () => {
    const { rss, heapUsed } = process.memoryUsage();
    const ageMs = Math.round(process.uptime() * 1000);
    journal.say({ memory: { pid: process.pid, ageMs, rss, heap: heapUsed } });
  };
  setInterval(note, intervalMs).unref();
}

/** Tells whether processes that lived long have grown. */
export class MemoryWatch {
  private readonly processes = new Map<number, MemorySample[]>();

  hear(sample: MemorySample): void {
    const samples = this.processes.get(sample.pid) ?? [];
    samples.push(sample);
    this.processes.set(sample.pid, samples);
  }

  /** The processes that have grown, a line each; a short life shows nothing. */
  grown(): string[] {
    return [...this.processes.values()].flatMap((samples) => {
      const lastMs = samples.at(-1)?.ageMs ?? 0;
      if (lastMs < warmMs + 2 * windowMs) {
        return [];
      }
      const least = (key: "rss" | "heap", fromMs: number) =>
        Math.min(
          ...samples
            .filter(({ ageMs }) => ageMs >= fromMs && ageMs <= fromMs + windowMs)
            .map((sample) => sample[key]),
        );
      return (["rss", "heap"] as const).flatMap((key) => {
        const [first, last] = [least(key, warmMs), least(key, lastMs - windowMs)];
        return last > first * slackFactor + slackBytes
          ? [
              `process ${samples[0]?.pid}: ${key} grew from ${megabytes(first)} to ${megabytes(last)}`,
            ]
          : [];
      });
    });
  }
}

function megabytes(bytes: number): string {
  return `${Math.round(bytes / 1e6)} MB`;
}
