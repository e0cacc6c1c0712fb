import { Code, ConnectError } from "@connectrpc/connect";
import { type BatchOptions, batched } from "@jetrpc/runtime";
import fc from "fast-check";
import { expect, test } from "vitest";
import { runs } from "../../../test/property-runs.js";

const never = new AbortController().signal;
const first = { signal: never, attempt: 1 };

/** A run that ends when it is told to, and remembers its batches. */
function gated<O>(answer: (item: number) => O | Error = (item) => item as O) {
  const batches: number[][] = [];
  const gates: (() => void)[] = [];
  const run = async (items: number[]): Promise<(O | Error)[]> => {
    batches.push(items);
    await new Promise<void>((resolve) => gates.push(resolve));
    return items.map(answer);
  };
  /** Lets what runs end, until nothing runs any more. */
  const open = async () => {
    for (let gate = gates.shift(); gate; gate = gates.shift()) {
      gate();
      await turn();
    }
  };
  return { run, batches, open };
}

/** What was begun has come as far as it can. */
function turn(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve));
}

test("calls of one turn share a run, and those that come while it runs share the next one", async () => {
  const { run, batches, open } = gated<number>((item) => 10 * item);
  const handler = batched(run, { maxSize: 100 });
  const early = [1, 2, 3].map((item) => handler(item, first));
  await turn();
  const late = [4, 5].map((item) => handler(item, first));
  await turn();
  expect(batches).toEqual([[1, 2, 3]]);
  await open();
  expect(await Promise.all([...early, ...late])).toEqual([10, 20, 30, 40, 50]);
  expect(batches).toEqual([
    [1, 2, 3],
    [4, 5],
  ]);
});

interface Call {
  key: number;
  weight: number;
  attempt: number;
  fate: "result" | "error" | "poison" | "canceled";
}

const anyCall = fc.record<Call>({
  key: fc.integer({ min: 0, max: 2 }),
  weight: fc.integer({ min: 0, max: 6 }),
  attempt: fc.constantFrom(1, 1, 1, 2),
  fate: fc.constantFrom("result", "result", "result", "error", "poison", "canceled"),
});

test("every call gets its own end, whatever is in its batch, and no batch breaks a bound", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(anyCall, { maxLength: 40 }),
      fc.integer({ min: 1, max: 6 }),
      fc.integer({ min: 1, max: 12 }),
      fc.integer({ min: 1, max: 3 }),
      fc.constantFrom(0, 2),
      async (calls, maxSize, maxWeight, concurrency, maxWaitMs) => {
        const batches: number[][] = [];
        let running = 0;
        let most = 0;
        const cancel = new AbortController();
        const run = async (items: number[]) => {
          batches.push(items);
          most = Math.max(most, ++running);
          await turn();
          running--;
          if (items.some((item) => calls[item]?.fate === "poison")) {
            throw new Error(`poison in ${items}`);
          }
          return items.map((item) =>
            calls[item]?.fate === "error" ? new Error(`error of ${item}`) : `result of ${item}`,
          );
        };
        const handler = batched(run, {
          maxSize,
          maxWeight,
          concurrency,
          maxWaitMs,
          key: (item) => calls[item]?.key,
          weight: (item) => calls[item]?.weight ?? 0,
        });
        const ends = calls.map(({ attempt, fate }, item) =>
          handler(item, { attempt, signal: fate === "canceled" ? cancel.signal : never }).catch(
            (error: Error) => error.message,
          ),
        );
        cancel.abort(new Error("canceled"));
        const expected = calls.map(({ fate }, item) => {
          switch (fate) {
            case "result":
              return `result of ${item}`;
            case "error":
              return `error of ${item}`;
            case "poison":
              return `poison in ${item}`;
            default:
              return "canceled";
          }
        });
        expect(await Promise.all(ends)).toEqual(expected);
        expect(most).toBeLessThanOrEqual(concurrency);
        for (const batch of batches) {
          const its = batch.map((item) => calls[item] as Call);
          expect(batch.length).toBeLessThanOrEqual(maxSize);
          expect(new Set(its.map(({ key }) => key)).size).toBe(1);
          expect(its.some(({ fate }) => fate === "canceled")).toBe(false);
          if (batch.length > 1) {
            const weight = its.reduce((sum, call) => sum + call.weight, 0);
            expect(weight).toBeLessThanOrEqual(maxWeight);
            expect(its.every(({ attempt }) => attempt === 1)).toBe(true);
          }
        }
        // The oldest goes first: within a key, items begin in the order in which they came.
        const begun = [...new Set(batches.flat())];
        for (const key of [0, 1, 2]) {
          const order = begun.filter(
            (item) => calls[item]?.key === key && calls[item]?.attempt === 1,
          );
          expect(order).toEqual([...order].sort((a, b) => a - b));
        }
      },
    ),
    runs(200),
  );
});

test("a poisonous item costs its neighbours no attempt", async () => {
  const batches: number[][] = [];
  const handler = batched(
    async (items: number[]) => {
      batches.push(items);
      if (items.includes(2)) {
        throw new ConnectError("poison", Code.Internal);
      }
      return items;
    },
    { maxSize: 10 },
  );
  const ends = await Promise.allSettled([1, 2, 3].map((item) => handler(item, first)));
  expect(ends.map(({ status }) => status)).toEqual(["fulfilled", "rejected", "fulfilled"]);
  expect(batches).toEqual([[1, 2, 3], [1], [2], [3]]);
});

test("a call that ends while it runs ends at once, and the run when all have ended", async () => {
  const signals: AbortSignal[] = [];
  let finish: (results: number[]) => void = () => undefined;
  const handler = batched(
    (_items: number[], signal) => {
      signals.push(signal);
      return new Promise<number[]>((resolve) => {
        finish = resolve;
      });
    },
    { maxSize: 10 },
  );
  const [one, two] = [new AbortController(), new AbortController()];
  const ends = [handler(1, one), handler(2, two)];
  await turn();
  one.abort(new Error("one"));
  await expect(ends[0]).rejects.toThrow("one");
  expect(signals[0]?.aborted).toBe(false);
  two.abort(new Error("two"));
  await expect(ends[1]).rejects.toThrow("two");
  expect(signals[0]?.aborted).toBe(true);
  finish([1, 2]);
  await expect(handler(3, { signal: AbortSignal.abort(new Error("three")) })).rejects.toThrow(
    "three",
  );
});

test("a call that ends while it waits leaves its place in the batch to another one", async () => {
  const { run, batches, open } = gated<number>();
  const handler = batched(run, { maxSize: 2 });
  const cancel = new AbortController();
  const ends = [handler(1, first)];
  await turn();
  const cancelled = handler(3, { signal: cancel.signal });
  ends.push(handler(2, first), handler(4, first));
  await turn();
  cancel.abort(new Error("cancelled"));
  await expect(cancelled).rejects.toThrow("cancelled");
  await open();
  await Promise.all(ends);
  expect(batches).toEqual([[1], [2, 4]]);
});

test("a call that ended while its batch failed is not run alone", async () => {
  const batches: number[][] = [];
  const cancel = new AbortController();
  const handler = batched(
    (items: number[]) => {
      batches.push(items);
      if (items.length > 1) {
        cancel.abort(new Error("cancelled"));
        throw new Error("poison");
      }
      return items;
    },
    { maxSize: 10 },
  );
  const ends = [handler(1, first), handler(2, { signal: cancel.signal }), handler(3, first)];
  const settled = await Promise.allSettled(ends);
  expect(settled.map(({ status }) => status)).toEqual(["fulfilled", "rejected", "fulfilled"]);
  expect(batches).toEqual([[1, 2, 3], [1], [3]]);
});

test("as many batches run at once as `concurrency` says, and by default one", async () => {
  for (const concurrency of [undefined, 3]) {
    const { run, batches, open } = gated<number>();
    const handler = batched(run, { maxSize: 2, concurrency });
    const ends = [1, 2, 3, 4, 5, 6, 7, 8].map((item) => handler(item, first));
    await turn();
    expect(batches).toHaveLength(concurrency ?? 1);
    await open();
    await Promise.all(ends);
    expect(batches.flat()).toEqual([1, 2, 3, 4, 5, 6, 7, 8]);
  }
});

test("with maxWaitMs, a batch that is full does not wait, and one that is not waits for others", async () => {
  const { run, batches, open } = gated<number>();
  // Longer than the test may take.
  const handler = batched(run, { maxSize: 2, maxWaitMs: 600_000 });
  const ends = [1, 2].map((item) => handler(item, first));
  await turn();
  expect(batches).toEqual([[1, 2]]);
  await open();
  ends.push(handler(3, first));
  await turn();
  ends.push(handler(4, first));
  await expect.poll(() => batches.length).toBe(2);
  await open();
  await Promise.all(ends);
  expect(batches).toEqual([
    [1, 2],
    [3, 4],
  ]);
  const alone = gated<number>();
  const end = batched(alone.run, { maxSize: 2, maxWaitMs: 20 })(5, first);
  await expect.poll(() => alone.batches).toEqual([[5]]);
  await alone.open();
  expect(await end).toBe(5);
});

test("a run that returns another number of results fails as Internal", async () => {
  const handler = batched((items: number[]) => items.slice(1), { maxSize: 4 });
  await expect(handler(1, first)).rejects.toMatchObject({
    code: Code.Internal,
    rawMessage: "a batch of 1 items has 0 results: return one for each",
  });
});

test.each<[string, Partial<BatchOptions<number>>]>([
  ["maxSize", { maxSize: 0 }],
  ["maxSize", { maxSize: 1.5 }],
  ["maxSize", { maxSize: Number.NaN }],
  ["concurrency", { concurrency: 0 }],
  ["maxWaitMs", { maxWaitMs: -1 }],
  ["maxWeight", { maxWeight: Number.NaN }],
])("option %s out of its range is refused: %o", (name, options) => {
  expect(() => batched((items: number[]) => items, { maxSize: 8, ...options })).toThrow(
    expect.objectContaining({
      code: Code.InvalidArgument,
      rawMessage: expect.stringMatching(`^${name} is `),
    }),
  );
});

test("a weight that is no number is refused", async () => {
  const handler = batched((items: number[]) => items, { maxSize: 8, weight: () => Number.NaN });
  await expect(handler(1, first)).rejects.toMatchObject({ code: Code.InvalidArgument });
});
