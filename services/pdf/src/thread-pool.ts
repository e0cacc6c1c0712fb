import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { Code, ConnectError } from "@jetrpc/runtime";
import PQueue from "p-queue";
import { Piscina } from "piscina";
import type { ItemOf, Sources, Work } from "./job.js";
import { Lease, type LeaseLimits } from "./lease.js";
import type { ThreadData } from "./pdf-thread.js";

/** Options of a {@link ThreadPool}. */
export interface ThreadPoolOptions extends Omit<ThreadData, "module">, LeaseLimits {
  readonly threads: number;
}

/** How a call wants its work done. */
export interface RunOptions {
  /** How many of the first items are not wanted. Default: 0. */
  readonly skip?: number;
  /** How many items may wait for the consumer. */
  readonly window: number;
  /** Goes before the calls that are not urgent. Default: false. */
  readonly isUrgent?: boolean;
  /** Ends the call. */
  readonly signal?: AbortSignal;
}

/** One of the items that a call gives. */
export interface Item<T> {
  readonly value: T;
  /** Its number, from 1, counting those that are skipped. */
  readonly number: number;
  /** How many there are, those that are skipped included. */
  readonly total: number;
}

/**
 * Threads with PDFium. A thread works for one call at a time, so that a
 * document that kills or hangs it harms no other call; the thread is replaced.
 * A call keeps its thread while no other waits for one; else the threads go
 * around in slices of time, and the calls open their documents again.
 */
export class ThreadPool {
  private readonly queue: PQueue;
  private readonly leases = new Set<Lease>();
  private isClosed = false;

  private constructor(
    private readonly piscina: Piscina,
    private readonly options: ThreadPoolOptions,
  ) {
    this.queue = new PQueue({ concurrency: options.threads });
    // Piscina tells of threads that fail when idle here, and replaces them.
    piscina.on("error", () => undefined);
  }

  static async start(options: ThreadPoolOptions): Promise<ThreadPool> {
    const wasm = createRequire(import.meta.url).resolve("@hyzyla/pdfium/pdfium.wasm");
    const workerData: ThreadData = {
      module: await WebAssembly.compile(await readFile(wasm)),
      maxMemoryBytes: options.maxMemoryBytes,
      keepMemoryBytes: options.keepMemoryBytes,
    };
    const piscina = new Piscina({
      filename: new URL("./pdf-thread.js", import.meta.url).href,
      minThreads: options.threads,
      maxThreads: options.threads,
      workerData,
    });
    return new ThreadPool(piscina, options);
  }

  /** Ends all threads. What they work on fails with Unavailable. */
  async close(): Promise<void> {
    this.isClosed = true;
    for (const lease of this.leases) {
      lease.stop(closedError());
    }
    await this.piscina.destroy();
  }

  /**
   * Does work in a thread and gives its items as they come. The thread is never
   * more than `window` items ahead of the consumer. When the signal fires, its
   * reason is thrown at once. The buffers of the sources are moved away.
   */
  async *run<K extends Work["kind"]>(
    work: Extract<Work, { kind: K }>,
    documents: Sources,
    { skip = 0, window, isUrgent = false, signal }: RunOptions,
  ): AsyncGenerator<Item<ItemOf[K]>, void, undefined> {
    let sources = documents;
    let done = skip;
    let isPaused: boolean;
    do {
      signal?.throwIfAborted();
      if (this.isClosed) {
        throw closedError();
      }
      const isThreadWanted = () => this.queue.size > 0;
      const lease = new Lease({ sources, work, skip: done, window }, this.options, isThreadWanted);
      const onAbort = () => lease.stop(signal?.reason);
      signal?.addEventListener("abort", onAbort, { once: true });
      this.leases.add(lease);
      void this.queue.add(() => lease.run(this.piscina), { priority: isUrgent ? 1 : 0 });
      try {
        for (let item = await lease.take(); item !== undefined; item = await lease.take()) {
          done++;
          yield { value: item as ItemOf[K], number: done, total: lease.total };
        }
      } finally {
        this.leases.delete(lease);
        signal?.removeEventListener("abort", onAbort);
        lease.stop(new ConnectError("the call has ended", Code.Canceled));
      }
      ({ isPaused, sources } = lease);
    } while (isPaused);
  }
}

function closedError(): ConnectError {
  return new ConnectError("the PDF engine is closed", Code.Unavailable);
}
