import { type ChildProcess, fork } from "node:child_process";
import { readFileSync } from "node:fs";
import { Code, ConnectError, permanent } from "@jetrpc/runtime";
import type { Failure } from "./image-error.js";
import { type FromProcess, type Item, outOfMemory, type ToProcess } from "./process-messages.js";

/** Options of a {@link ChildPool}. */
export interface ChildPoolOptions {
  /** What the processes run: a module that calls `runChild()`. */
  readonly script: URL;
  /** How each process is set up; there are as many processes as set-ups. */
  readonly setups: readonly unknown[];
  /** How long a process may take to start, in ms. */
  readonly startTimeoutMs: number;
  /** How long a process may work without a step, in ms: four times as long when it has no CPU. */
  readonly stepTimeoutMs: number;
  /** Memory at which a process is ended, in bytes. */
  readonly maxMemoryBytes: number;
  /** A process that has more memory after a job is replaced, in bytes. */
  readonly keepMemoryBytes: number;
}

/** How a job is done. */
export interface RunOptions {
  /** How many of the first items are not wanted. Default: 0. */
  readonly skip?: number | undefined;
  /** Goes before the jobs that are not urgent. Default: false. */
  readonly isUrgent?: boolean | undefined;
  /** Ends the job: its reason is thrown at once. */
  readonly signal?: AbortSignal | undefined;
}

/** How often a process at work is looked at, in ms. */
const tickMs = 50;

/** How long a process whose job nobody wants may take to stop, in ms. */
const graceMs = 500;

/** A process that waits for its CPU gets so many times longer. */
const patience = 4;

/** A process that worked less, in ms, hangs, however busy the machine is. */
const leastWorkMs = 50;

/** How many times a process may fail to start before the pool waits for the next job, in a row. */
const startAttempts = 3;

/**
 * Child processes that can be killed: a native library that crashes, hangs or grows takes
 * its own job with it and no other. A process works for one job at a time.
 */
export class ChildPool {
  private readonly slots: Slot[];
  private readonly queue: { isUrgent: boolean; give: (slot: Slot) => void }[] = [];
  private isClosed = false;

  private constructor(options: ChildPoolOptions) {
    this.slots = options.setups.map((setup) => new Slot(options, setup, (slot) => this.free(slot)));
  }

  /**
   * Starts the processes, and resolves when all are ready. Throws what a process says that
   * cannot be set up, and Unavailable when one ends or takes too long.
   */
  static async start(options: ChildPoolOptions): Promise<ChildPool> {
    const pool = new ChildPool(options);
    try {
      await Promise.all(pool.slots.map((slot) => slot.start()));
    } catch (error) {
      await pool.close();
      throw error;
    }
    return pool;
  }

  /** What the processes said of themselves when they were ready. */
  get about(): readonly unknown[] {
    return this.slots.map((slot) => slot.about);
  }

  /** Process ids of those that run. */
  get pids(): readonly number[] {
    return this.slots.flatMap((slot) => slot.pid ?? []);
  }

  /** Ends all processes. Their jobs fail with Unavailable. */
  async close(): Promise<void> {
    this.isClosed = true;
    await Promise.all(this.slots.map((slot) => slot.close()));
    for (const waiting of this.queue.splice(0)) {
      waiting.give(this.slots[0] as Slot);
    }
  }

  /** Does a job and gives its items as they come. */
  async *run<T>(
    work: unknown,
    { skip = 0, isUrgent = false, signal }: RunOptions,
  ): AsyncGenerator<Item<T> & { readonly about: unknown }, void, undefined> {
    signal?.throwIfAborted();
    const slot = await this.take(isUrgent, signal);
    try {
      for await (const item of slot.run<T>(work, skip, signal)) {
        yield { ...item, about: slot.about };
      }
    } finally {
      this.free(slot);
    }
  }

  private async take(isUrgent: boolean, signal: AbortSignal | undefined): Promise<Slot> {
    const free = this.isClosed ? undefined : this.slots.find((slot) => slot.take());
    const slot = free ?? (await this.wait(isUrgent, signal));
    if (this.isClosed) {
      throw unavailable("the image engine is closed");
    }
    return slot;
  }

  private wait(isUrgent: boolean, signal: AbortSignal | undefined): Promise<Slot> {
    if (this.isClosed) {
      throw unavailable("the image engine is closed");
    }
    return new Promise((resolve, reject) => {
      const onAbort = () => {
        this.queue.splice(this.queue.indexOf(entry), 1);
        reject(signal?.reason);
      };
      const entry = {
        isUrgent,
        give: (slot: Slot) => {
          signal?.removeEventListener("abort", onAbort);
          resolve(slot);
        },
      };
      signal?.addEventListener("abort", onAbort, { once: true });
      const at = isUrgent ? this.queue.findIndex((other) => !other.isUrgent) : -1;
      this.queue.splice(at < 0 ? this.queue.length : at, 0, entry);
    });
  }

  /** Gives a slot that has nothing to do to whoever waits longest. */
  private free(slot: Slot): void {
    slot.leave();
    if (this.queue.length > 0 && slot.take()) {
      this.queue.shift()?.give(slot);
    }
  }
}

/** Place of a process: when it is lost, another one takes it. */
class Slot {
  about: unknown;
  private child: ChildProcess | undefined;
  private isReady = false;
  private isTaken = false;
  private isClosed = false;
  private starting: Promise<void> | undefined;
  private onMessage: (message: FromProcess) => void = () => undefined;
  private onLost: (error: ConnectError) => void = () => undefined;

  constructor(
    private readonly options: ChildPoolOptions,
    private readonly setup: unknown,
    private readonly onFree: (slot: Slot) => void,
  ) {}

  get pid(): number | undefined {
    return this.child?.pid;
  }

  /** Takes the slot for a job; false when it has one. */
  take(): boolean {
    if (this.isTaken || this.isClosed || (this.starting && !this.isReady)) {
      return false;
    }
    this.isTaken = true;
    return true;
  }

  leave(): void {
    this.isTaken = false;
  }

  start(): Promise<void> {
    this.starting ??= this.launch().finally(() => {
      this.starting = undefined;
    });
    return this.starting;
  }

  private launch(): Promise<void> {
    const { script, startTimeoutMs, maxMemoryBytes } = this.options;
    const child = fork(script, {
      serialization: "advanced",
      // Fewer arenas of the allocator: memory that was given back is not kept in each.
      env: { MALLOC_ARENA_MAX: "2", ...process.env },
      execArgv: [],
      stdio: ["ignore", "inherit", "inherit", "ipc"],
    });
    this.child = child;
    this.isReady = false;
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        reject(unavailable(`a process was not ready after ${startTimeoutMs} ms`));
        child.kill("SIGKILL");
      }, startTimeoutMs);
      child.on("message", (message: FromProcess) => {
        if (message.type === "ready") {
          clearTimeout(timer);
          this.about = message.about;
          this.isReady = true;
          resolve();
        } else if (message.type === "unfit") {
          reject(new ConnectError(message.failure.message, Code[message.failure.code]));
          child.kill("SIGKILL");
        } else {
          this.onMessage(message);
        }
      });
      child.on("error", () => child.kill("SIGKILL"));
      child.once("exit", (code, signal) => {
        clearTimeout(timer);
        const wasReady = this.isReady;
        if (this.child === child) {
          this.child = undefined;
          this.isReady = false;
        }
        const error = explainLoss(code, signal);
        reject(error);
        this.onLost(error);
        if (wasReady && !this.isTaken) {
          void this.replace();
        }
      });
      // A process that is gone already says so by its exit.
      const start: ToProcess = { type: "start", setup: this.setup, maxMemoryBytes };
      child.send(start, () => undefined);
    });
  }

  /** Has a new process warm for the next job, whatever became of the last one. */
  private async replace(): Promise<void> {
    for (let attempt = 1; attempt <= startAttempts && !this.isClosed; attempt++) {
      try {
        await this.start();
        break;
      } catch {
        // The next job tries again, and says why it failed.
      }
    }
    if (!this.isTaken) {
      this.onFree(this);
    }
  }

  async close(): Promise<void> {
    this.isClosed = true;
    const { child } = this;
    if (child && child.exitCode === null && child.signalCode === null) {
      const exited = new Promise((resolve) => child.once("exit", resolve));
      child.kill("SIGKILL");
      await exited;
    }
  }

  async *run<T>(
    work: unknown,
    skip: number,
    signal: AbortSignal | undefined,
  ): AsyncGenerator<Item<T>, void, undefined> {
    if (!this.isReady) {
      await this.start();
    }
    signal?.throwIfAborted();
    const job = new Job<T>(this.child as ChildProcess, this.options.stepTimeoutMs);
    this.onMessage = (message) => job.receive(message);
    this.onLost = (error) => job.lose(error);
    const onAbort = () => job.stop(signal?.reason);
    signal?.addEventListener("abort", onAbort, { once: true });
    try {
      job.begin(work, skip);
      for (let item = await job.next(); item !== undefined; item = await job.next()) {
        yield item;
      }
    } finally {
      signal?.removeEventListener("abort", onAbort);
      job.stop(new ConnectError("the job has ended", Code.Canceled));
      await job.left;
      this.onMessage = () => undefined;
      this.onLost = () => undefined;
      const { child } = this;
      if (child && job.residentBytes > this.options.keepMemoryBytes) {
        await new Promise<void>((resolve) => {
          child.once("exit", () => resolve());
          child.kill("SIGKILL");
        });
      }
      if (!this.child && !this.isClosed) {
        void this.replace();
      }
    }
  }
}

/** A job of a process. */
class Job<T> {
  /** Memory of the process after the job. */
  residentBytes = 0;
  /** Resolves when the process is free again, or gone. */
  readonly left: Promise<void>;
  private leave: () => void = () => undefined;
  private readonly items: Item<T>[] = [];
  private ended: { readonly error?: unknown } | undefined;
  private isStopped = false;
  private isLeft = false;
  private isImage = true;
  private quietMs = 0;
  private cpuMsBefore: number | undefined;
  private stoppedMs = 0;
  private watch: ReturnType<typeof setInterval> | undefined;
  private onChange: () => void = () => undefined;

  constructor(
    private readonly child: ChildProcess,
    private readonly stepTimeoutMs: number,
  ) {
    this.left = new Promise((resolve) => {
      this.leave = resolve;
    });
  }

  begin(work: unknown, skip: number): void {
    this.send({ type: "job", work, skip });
    // Ticks are counted and not the time: a process that was suspended finds no other guilty.
    this.watch = setInterval(() => this.look(), tickMs);
  }

  receive(message: FromProcess): void {
    this.quietMs = 0;
    this.cpuMsBefore = undefined;
    if (message.type === "step") {
      this.isImage = message.isImage;
    } else if (message.type === "item") {
      this.items.push(message.item as Item<T>);
      this.onChange();
    } else if (message.type === "end") {
      this.residentBytes = message.residentBytes;
      this.end(message.failure ? { error: toConnectError(message.failure) } : {});
      this.finish();
    }
  }

  /** The process is gone. */
  lose(error: ConnectError): void {
    this.end({ error });
    this.finish();
  }

  /** The next item; undefined after the last. Throws what ended the job. */
  async next(): Promise<Item<T> | undefined> {
    for (;;) {
      const item = this.isStopped ? undefined : this.items.shift();
      if (item) {
        this.quietMs = 0;
        this.send({ type: "taken" });
        return item;
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

  /** Ends the job for a reason, which next() throws from now on. */
  stop(reason: unknown): void {
    if (!this.isStopped) {
      this.isStopped = true;
      this.send({ type: "stop" });
      this.end({ error: reason });
    }
  }

  private look(): void {
    // A process whose items nobody takes has nothing to say.
    this.quietMs += this.items.length > 0 ? 0 : tickMs;
    this.stoppedMs += this.isStopped ? tickMs : 0;
    this.cpuMsBefore ??= cpuMsOf(this.child);
    if (this.stoppedMs >= graceMs) {
      this.child.kill("SIGKILL");
    } else if (this.quietMs >= this.stepTimeoutMs) {
      const workedMs = cpuMsOf(this.child) - this.cpuMsBefore;
      const isStarved = workedMs < this.stepTimeoutMs / 2;
      if (!isStarved || this.quietMs >= patience * this.stepTimeoutMs) {
        this.end({ error: this.explainHang(isStarved && workedMs >= leastWorkMs) });
        this.child.kill("SIGKILL");
      }
    }
  }

  private explainHang(isStarved: boolean): ConnectError {
    if (isStarved) {
      return unavailable(
        `a process had less than half of a CPU for ${this.quietMs} ms: the machine of the worker is too busy`,
      );
    }
    const limit = `${this.stepTimeoutMs} ms, which is all that this worker grants`;
    return this.isImage
      ? permanent(
          new ConnectError(
            `the image takes longer than ${limit}: make it smaller, or ask for a faster format`,
            Code.ResourceExhausted,
          ),
        )
      : unavailable(`the model has hung for ${limit}`);
  }

  private end(end: { readonly error?: unknown }): void {
    this.ended ??= end;
    this.onChange();
  }

  private finish(): void {
    if (!this.isLeft) {
      this.isLeft = true;
      clearInterval(this.watch);
      this.leave();
    }
  }

  private send(message: ToProcess): void {
    if (!this.isLeft && this.child.connected) {
      this.child.send(message, () => undefined);
    }
  }
}

/** CPU time of all threads of a process, in ms; endless where the system does not tell. */
function cpuMsOf({ pid }: ChildProcess): number {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "latin1");
    const [user, system] = stat.slice(stat.lastIndexOf(")")).split(" ").slice(12);
    return 10 * (Number(user) + Number(system));
  } catch {
    return Number.POSITIVE_INFINITY;
  }
}

function toConnectError({ code, message }: Failure): ConnectError {
  const error = new ConnectError(message, Code[code]);
  // Only what is no fault of the image may go better another time.
  return code === "Internal" ? error : permanent(error);
}

/** What a process that was lost means for its job. */
function explainLoss(code: number | null, signal: NodeJS.Signals | null): ConnectError {
  if (signal === outOfMemory) {
    const text = "the image needs more memory than this worker grants: make it smaller";
    return permanent(new ConnectError(text, Code.ResourceExhausted));
  }
  return unavailable(`a process was lost (${signal ?? `exit code ${code}`})`);
}

function unavailable(text: string): ConnectError {
  return new ConnectError(text, Code.Unavailable);
}
