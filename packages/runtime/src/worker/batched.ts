import { Code, ConnectError } from "@connectrpc/connect";
import type { Watch } from "../link/observer.js";
import { toConnectError } from "../message/thrown.js";
import type { DurableHandlerContext } from "./context.js";

/** How items become batches. */
export interface BatchOptions<I> {
  /** Items of a batch at most: 1 or more. */
  maxSize: number;
  /**
   * How long an item waits for others to come, in ms. Default: 0, it waits for nothing:
   * a batch has what came while the one before it ran.
   */
  maxWaitMs?: number | undefined;
  /** The items of a batch have this in common, such as the shape of an image. Default: nothing. */
  key?: ((item: I) => unknown) | undefined;
  /** The weight of an item: pixels, tokens. A finite number, 0 or more. Default: nothing. */
  weight?: ((item: I) => number) | undefined;
  /** The items of a batch weigh no more than this together; a heavier item runs alone. Default: no limit. */
  maxWeight?: number | undefined;
  /** How many batches run at once: 1 or more. Default: 1. */
  concurrency?: number | undefined;
}

/** The part of the call of an item that {@link batched} knows: the context of its handler has both. */
export type BatchContext = Pick<DurableHandlerContext, "signal"> & { readonly attempt?: number };

interface Entry<I, O> {
  readonly item: I;
  readonly key: unknown;
  readonly weight: number;
  /** An item that was in an attempt that failed. */
  readonly isAlone: boolean;
  /** When the entry has waited for others long enough, as Date.now() counts. */
  readonly waitsUntil: number;
  readonly signal: AbortSignal;
  readonly watch: Watch | undefined;
  readonly resolve: (result: O) => void;
  readonly reject: (reason: unknown) => void;
}

/**
 * Makes of a function over many items a handler for one. Calls that run at the same time
 * share a run: serve them with a `concurrency` of `maxSize` or more, or a batch never fills.
 *
 * `run` gets the items of a batch and a signal, which fires when the calls of all of them
 * are over. It returns as many results, in their order; an Error among them is thrown to the
 * call of its item. When it throws, each item of the batch runs once more, alone, so that one
 * bad item does not cost the others their attempts; and an item whose call is not at its first
 * attempt runs alone from the start. An item whose call has ended leaves before its run. With
 * `telemetry()` of `@jetrpc/otel` a run is a span with links to those of its calls: give the
 * handler the context as it came.
 *
 * `batched()` throws InvalidArgument for an option that is out of its range. The handler
 * throws what `run` throws or returns for its item, the reason of the signal, InvalidArgument
 * for a `weight` that is no number, and Internal when `run` returns another number of results.
 */
export function batched<I, O>(
  run: (
    items: I[],
    signal: AbortSignal,
  ) => Promise<readonly (O | Error)[]> | readonly (O | Error)[],
  options: BatchOptions<I>,
): (item: I, context: BatchContext) => Promise<O> {
  const { maxSize, maxWaitMs = 0, maxWeight = Infinity, concurrency = 1 } = options;
  checkLeast({ maxSize, concurrency }, 1);
  checkLeast({ maxWaitMs, maxWeight }, 0);
  const { key = () => undefined, weight = () => 0 } = options;
  let waiting: Entry<I, O>[] = [];
  let running = 0;
  let timer: ReturnType<typeof setTimeout> | undefined;

  const startBatches = (): void => {
    clearTimeout(timer);
    for (let batch = nextBatch(); batch; batch = nextBatch()) {
      const taken = new Set(batch);
      waiting = waiting.filter((entry) => !taken.has(entry));
      running++;
      void runBatch(batch).then(() => {
        running--;
        startBatches();
      });
    }
  };

  /** The batch whose oldest entry waits longest; else sets the time to look again. */
  const nextBatch = (): Entry<I, O>[] | undefined => {
    if (running >= concurrency || waiting.length === 0) {
      return undefined;
    }
    const now = Date.now();
    const seen = new Set<unknown>();
    let nextEnd = Infinity;
    for (const entry of waiting) {
      if (entry.isAlone) {
        return [entry];
      }
      if (!seen.has(entry.key)) {
        seen.add(entry.key);
        const batch = fill(entry.key);
        if (batch.isFull || entry.waitsUntil <= now) {
          return batch.entries;
        }
        nextEnd = Math.min(nextEnd, entry.waitsUntil);
      }
    }
    timer = setTimeout(startBatches, nextEnd - now);
    return undefined;
  };

  /** The oldest entries of a key, as many as fit into a batch. */
  const fill = (of: unknown): { entries: Entry<I, O>[]; isFull: boolean } => {
    const entries: Entry<I, O>[] = [];
    let sum = 0;
    for (const entry of waiting) {
      if (!entry.isAlone && isSame(entry.key, of)) {
        if (entries.length === maxSize || (entries.length > 0 && sum + entry.weight > maxWeight)) {
          return { entries, isFull: true };
        }
        entries.push(entry);
        sum += entry.weight;
      }
    }
    return { entries, isFull: entries.length === maxSize || sum >= maxWeight };
  };

  const runBatch = async (batch: Entry<I, O>[]): Promise<void> => {
    try {
      await runTogether(batch);
    } catch (error) {
      if (batch.length === 1) {
        batch[0]?.reject(error);
        return;
      }
      for (const entry of batch) {
        await runTogether([entry]).catch(entry.reject);
      }
    }
  };

  const runTogether = async (batch: Entry<I, O>[]): Promise<void> => {
    const live = batch.filter(({ signal }) => !signal.aborted);
    if (live.length === 0) {
      return;
    }
    const ended = new AbortController();
    const onAbort = () => {
      if (live.every(({ signal }) => signal.aborted)) {
        ended.abort(live[0]?.signal.reason);
      }
    };
    for (const { signal } of live) {
      signal.addEventListener("abort", onAbort);
    }
    const watches = live.flatMap((entry) => entry.watch ?? []);
    const watch = watches[0]?.batch?.(watches);
    const items = live.map(({ item }) => item);
    const work = () => run(items, ended.signal);
    try {
      const results = await (watch ? watch.run(work) : work());
      if (results.length !== live.length) {
        throw new ConnectError(
          `a batch of ${live.length} items has ${results.length} results: return one for each`,
          Code.Internal,
        );
      }
      for (const [index, { resolve, reject }] of live.entries()) {
        const result = results[index] as O | Error;
        result instanceof Error ? reject(result) : resolve(result);
      }
      watch?.end();
    } catch (error) {
      watch?.end(toConnectError(error));
      throw error;
    } finally {
      for (const { signal } of live) {
        signal.removeEventListener("abort", onAbort);
      }
    }
  };

  return async (item, context) => {
    const { signal, attempt = 1, watch }: BatchContext & { readonly watch?: Watch } = context;
    signal.throwIfAborted();
    const weighs = weight(item);
    if (!(weighs >= 0 && weighs < Infinity)) {
      throw new ConnectError(
        `an item weighs ${weighs}: weight() must give a finite number of 0 or more`,
        Code.InvalidArgument,
      );
    }
    const its = { item, signal, watch, key: key(item), weight: weighs, isAlone: attempt > 1 };
    let onAbort: () => void = () => undefined;
    try {
      return await new Promise<O>((resolve, reject) => {
        const entry = { ...its, waitsUntil: Date.now() + maxWaitMs, resolve, reject };
        onAbort = () => {
          waiting = waiting.filter((each) => each !== entry);
          reject(signal.reason);
        };
        signal.addEventListener("abort", onAbort, { once: true });
        waiting.push(entry);
        // Calls that came with this one are there after this turn.
        queueMicrotask(startBatches);
      });
    } finally {
      signal.removeEventListener("abort", onAbort);
    }
  };
}

/** As a Map compares its keys. */
function isSame(one: unknown, other: unknown): boolean {
  return one === other || Object.is(one, other);
}

function checkLeast(options: Record<string, number>, least: number): void {
  for (const [name, value] of Object.entries(options)) {
    const isWhole = least === 0 || Number.isSafeInteger(value);
    if (!(value >= least && isWhole)) {
      throw new ConnectError(
        `${name} is ${value}, and must be ${least === 0 ? "0" : "a whole number of 1"} or more`,
        Code.InvalidArgument,
      );
    }
  }
}
