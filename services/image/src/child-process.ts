import { Worker } from "node:worker_threads";
import { type Failure, ImageError } from "./image-error.js";
import { type FromProcess, type Item, outOfMemory, type ToProcess } from "./process-messages.js";

/** What the work of a job knows of it. */
export interface JobContext {
  /** How many of the first items are not wanted. */
  readonly skip: number;
  /**
   * Says that work goes on, and lets a stop arrive: between parts that take long. `isImage`
   * tells that the next part is the decoding of an image.
   */
  step(isImage?: boolean): Promise<void>;
  /** Gives an item, and waits while its consumer is behind. */
  emit(item: Item<unknown>): Promise<void>;
}

/** What a process is for. */
export interface Program<Setup, Work> {
  /** Makes the process ready. Resolves with what the engine is to know of it. */
  start(setup: Setup): Promise<unknown>;
  run(work: Work, context: JobContext): Promise<void>;
}

/** How many items may wait for their consumer. */
const window = 2;

/**
 * Runs in the thread of its own: it sees to it that the process ends with its parent, and
 * when it takes too much memory, also while the main thread or a thread of a native library hangs.
 */
const guard = `
const { workerData } = require("node:worker_threads");
const parent = process.ppid;
setInterval(() => {
  if (process.ppid !== parent) process.kill(process.pid, "SIGKILL");
  if (process.memoryUsage.rss() > workerData.maxMemoryBytes) process.kill(process.pid, workerData.signal);
}, 100);`;

class Stopped extends Error {}

/** Runs jobs that the parent process asks for, one at a time. */
export function runChild<Setup, Work>(program: Program<Setup, Work>): void {
  let isStopped = false;
  let waiting = 0;
  let wake: () => void = () => undefined;
  const send = (message: FromProcess) => {
    process.send?.(message);
  };

  const runJob = async (work: Work, skip: number) => {
    isStopped = false;
    waiting = 0;
    const context: JobContext = {
      skip,
      async step(isImage = false) {
        send({ type: "step", isImage });
        // Messages of the parent arrive between two turns of the event loop.
        await new Promise((resolve) => setImmediate(resolve));
        await new Promise((resolve) => setImmediate(resolve));
        if (isStopped) {
          throw new Stopped();
        }
      },
      async emit(item) {
        while (waiting >= window && !isStopped) {
          await new Promise<void>((resolve) => {
            wake = resolve;
          });
        }
        if (isStopped) {
          throw new Stopped();
        }
        waiting++;
        send({ type: "item", item });
      },
    };
    let failure: Failure | undefined;
    try {
      await program.run(work, context);
    } catch (error) {
      failure = toFailure(error);
    }
    send({ type: "end", failure, residentBytes: process.memoryUsage.rss() });
  };

  process.on("message", async (message: ToProcess) => {
    switch (message.type) {
      case "start": {
        const { maxMemoryBytes } = message;
        new Worker(guard, {
          eval: true,
          workerData: { maxMemoryBytes, signal: outOfMemory },
        }).unref();
        try {
          send({ type: "ready", about: await program.start(message.setup as Setup) });
        } catch (error) {
          send({ type: "unfit", failure: toFailure(error) });
        }
        break;
      }
      case "job":
        await runJob(message.work as Work, message.skip);
        break;
      case "taken":
        waiting--;
        wake();
        break;
      case "stop":
        isStopped = true;
        wake();
        break;
    }
  });
  // Not process.exit(), which waits for threads that may hang.
  process.on("disconnect", () => process.kill(process.pid, "SIGKILL"));
}

function toFailure(error: unknown): Failure {
  if (error instanceof ImageError) {
    return { code: error.code, message: error.message };
  }
  if (error instanceof Stopped) {
    return { code: "Canceled", message: "the job was stopped" };
  }
  return { code: "Internal", message: error instanceof Error ? error.message : String(error) };
}
