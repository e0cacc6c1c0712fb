import type { RunningWorker } from "./console-options.js";

/** The handlers of a method that ended in a time. */
export interface Work {
  handled: number;
  errors: number;
  /** How long they took together, in ms. */
  totalMs: number;
}

interface Known {
  readonly work: Work;
  /** How often its worker has not answered since. */
  missed: number;
}

/** A worker that is busy may miss some questions; one that misses more has gone. */
const maxMissed = 6;

/** Tells from the figures of workers, which count from their start, what they did since it was asked. */
export class WorkDone {
  private readonly known = new Map<string, Known>();
  /** When it asked the last times: who began since then was not forgotten, but has not answered yet. */
  private readonly askedMs: number[] = [];

  /** What was done since the last call, by `service/Method`; nothing at the first one. */
  since(workers: readonly RunningWorker[], nowMs: number): Map<string, Work> {
    const done = new Map<string, Work>();
    for (const [key, known] of this.known) {
      if (++known.missed > maxMissed) {
        this.known.delete(key);
      }
    }
    for (const { id, service, started, methods } of workers) {
      const isNew = Date.parse(started ?? "") >= (this.askedMs[0] ?? Number.POSITIVE_INFINITY);
      for (const { name, calls, errors, averageMs } of methods) {
        const key = `${id} ${service}/${name}`;
        const now = { handled: calls, errors, totalMs: calls * averageMs };
        const before =
          this.known.get(key)?.work ?? (isNew ? { handled: 0, errors: 0, totalMs: 0 } : now);
        this.known.set(key, { work: now, missed: 0 });
        const sum = done.get(`${service}/${name}`) ?? { handled: 0, errors: 0, totalMs: 0 };
        sum.handled += Math.max(0, now.handled - before.handled);
        sum.errors += Math.max(0, now.errors - before.errors);
        sum.totalMs += Math.max(0, now.totalMs - before.totalMs);
        done.set(`${service}/${name}`, sum);
      }
    }
    this.askedMs.push(nowMs);
    if (this.askedMs.length > maxMissed) {
      this.askedMs.shift();
    }
    return done;
  }
}
