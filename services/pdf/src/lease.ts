import { MessageChannel } from "node:worker_threads";
import { Code, ConnectError, permanent } from "@jetrpc/runtime";
import type { Piscina } from "piscina";
import {
  buffersOf,
  Command,
  Control,
  type Failure,
  type Job,
  type Sources,
  type ThreadMessage,
} from "./job.js";

/** Limits of a {@link Lease}, in ms. */
export interface LeaseLimits {
  /** How long a thread may be at one page. */
  readonly pageTimeoutMs: number;
  /** How long a call keeps a thread that others wait for. */
  readonly sliceMs: number;
}

/** How often a thread at work is looked at, in ms. */
const tickMs = 50;

/** How long a thread whose work nobody wants may take to stop, in ms. */
const graceMs = 500;

/** How long a thread may take to start, in ms. */
const startTimeoutMs = 60_000;

/** One thread at work for one call. */
export class Lease {
  /** How many items the call has in all, once the first of them is there. */
  total = 0;
  /** True when the thread went to another call before all was done. */
  isPaused = false;
  /** The documents, back from the thread. */
  sources: Sources;

  private readonly control = new Int32Array(
    new SharedArrayBuffer(Control.length * Int32Array.BYTES_PER_ELEMENT),
  );
  private readonly killer = new AbortController();
  private readonly items: unknown[] = [];
  private ended: { readonly error?: unknown } | undefined;
  private isStopped = false;
  private onChange: () => void = () => undefined;
  private onThreadEnd: () => void = () => undefined;

  constructor(
    private readonly job: Omit<Job, "port" | "control">,
    private readonly limits: LeaseLimits,
    private readonly isThreadWanted: () => boolean,
  ) {
    this.sources = job.sources;
  }

  /** Has a thread of the pool do the work. Resolves when the thread is free again. Never throws. */
  async run(pool: Piscina): Promise<void> {
    if (this.isStopped) {
      return;
    }
    const { port1: port, port2 } = new MessageChannel();
    const threadEnd = new Promise<void>((resolve) => {
      this.onThreadEnd = resolve;
    });
    port.on("message", (message: ThreadMessage) => this.receive(message));
    const watch = this.watchThread();
    try {
      const job: Job = { ...this.job, control: this.control, port: port2 };
      const transferList = [port2, ...buffersOf(job.sources)];
      await pool.run(job, { transferList, signal: this.killer.signal });
      // The last message of the thread may still be on its way: it comes by another port.
      await threadEnd;
    } catch (error) {
      this.end({ error: explainLoss(error) });
    } finally {
      clearInterval(watch);
      port.close();
    }
  }

  /** The next item; undefined after the last. Throws what ended the work. */
  async take(): Promise<unknown> {
    for (;;) {
      if (this.items.length > 0 && !this.isStopped) {
        Atomics.add(this.control, Control.taken, 1);
        this.signalThread();
        return this.items.shift();
      }
      if (this.ended) {
        if ("error" in this.ended) {
          throw this.ended.error;
        }
        return undefined;
      }
      await new Promise<void>((resolve) => {
        this.onChange = resolve;
      });
    }
  }

  /** Ends the work for a reason, which take() throws from now on. */
  stop(reason: unknown): void {
    this.isStopped = true;
    this.command(Command.stop);
    this.end({ error: reason });
  }

  private receive(message: ThreadMessage): void {
    if (message.type === "open") {
      this.total = message.total;
      return;
    }
    if (message.type === "item") {
      this.items.push(message.item);
      this.onChange();
      return;
    }
    const { isPaused, failure, dispose, sources } = message.end;
    this.isPaused = isPaused;
    this.sources = sources;
    this.end(failure ? { error: toConnectError(failure) } : {});
    this.onThreadEnd();
    if (dispose) {
      this.killer.abort();
    }
  }

  private end(end: { readonly error?: unknown }): void {
    this.ended ??= end;
    this.onChange();
  }

  private command(command: number): void {
    Atomics.store(this.control, Control.command, command);
    this.signalThread();
  }

  private signalThread(): void {
    Atomics.add(this.control, Control.signal, 1);
    Atomics.notify(this.control, Control.signal);
  }

  /**
   * Watches that the thread goes on, that it gives way to other calls, and that
   * it stops when told. Counts ticks and not the time, so that a process that
   * was suspended finds no thread guilty.
   */
  private watchThread(): ReturnType<typeof setInterval> {
    const stuck = new StillCounter();
    const idle = new StillCounter();
    let stoppedMs = 0;
    let leasedMs = 0;
    return setInterval(() => {
      const step = Atomics.load(this.control, Control.step);
      const isWaiting = Atomics.load(this.control, Control.waiting) === 1;
      const stuckMs = stuck.count(step, !isWaiting);
      const idleMs = idle.count(Atomics.load(this.control, Control.taken), isWaiting);
      leasedMs += tickMs;
      if (this.isStopped) {
        stoppedMs += tickMs;
      }
      if (stoppedMs >= graceMs) {
        this.killer.abort();
      } else if (stuckMs >= (step === 0 ? startTimeoutMs : this.limits.pageTimeoutMs)) {
        this.end({ error: this.explainHang(step) });
        this.killer.abort();
      } else if (!this.isStopped && this.isThreadWanted()) {
        if (idleMs > 0 || leasedMs >= this.limits.sliceMs) {
          this.command(Command.pause);
        }
      }
    }, tickMs);
  }

  private explainHang(step: number): ConnectError {
    if (step === 0) {
      return new ConnectError("no PDF thread could be started", Code.Unavailable);
    }
    const page = Atomics.load(this.control, Control.page);
    const what = page > 0 ? `page ${page}` : "the document";
    const limit = `${this.limits.pageTimeoutMs} ms, which is all that this worker grants`;
    return permanent(
      new ConnectError(`${what} takes longer than ${limit}: simplify it`, Code.ResourceExhausted),
    );
  }
}

/** Counts for how long a value stands still, in ticks. */
class StillCounter {
  private value = 0;
  private ms = 0;

  /** How long the value is the same and the condition holds, in ms. */
  count(value: number, isCounted: boolean): number {
    this.ms = isCounted && value === this.value ? this.ms + tickMs : 0;
    this.value = value;
    return this.ms;
  }
}

function toConnectError({ code, message }: Failure): ConnectError {
  const error = new ConnectError(message, Code[code]);
  // Only what is no fault of the document may go better another time.
  return code === "Internal" ? error : permanent(error);
}

/** The error of a call whose thread was lost. */
function explainLoss(error: unknown): ConnectError {
  if ((error as NodeJS.ErrnoException).code === "ERR_WORKER_OUT_OF_MEMORY") {
    const text = "the document needs more memory than this worker grants: split it";
    return permanent(new ConnectError(text, Code.ResourceExhausted, undefined, undefined, error));
  }
  return new ConnectError("the PDF thread was lost", Code.Unavailable, undefined, undefined, error);
}
