import { describe, expect, test } from "vitest";
import { mapOrdered } from "../src/map-ordered.js";
import { collect } from "./fixture.js";

async function* numbers(count: number): AsyncGenerator<number> {
  for (let n = 1; n <= count; n++) {
    yield n;
  }
}

/** Maps by promises that the test resolves, and tells what runs. */
function manual() {
  const running = new Map<number, (value: string) => void>();
  const map = (n: number) => new Promise<string>((resolve) => running.set(n, resolve));
  return { running, map };
}

const limits = { concurrency: 2, room: 100, cost: () => 1 };
const turn = () => new Promise((resolve) => setImmediate(resolve));

describe("mapOrdered", () => {
  test("yields in order though a later item is done first", async () => {
    const { running, map } = manual();
    const all = collect(mapOrdered(numbers(2), map, limits));
    await turn();
    running.get(2)?.("two");
    await turn();
    running.get(1)?.("one");
    expect(await all).toEqual(["one", "two"]);
  });

  test("runs no more at once than allowed", async () => {
    const { running, map } = manual();
    void collect(mapOrdered(numbers(9), map, limits));
    await turn();
    expect([...running.keys()]).toEqual([1, 2]);
    running.get(1)?.("one");
    await turn();
    expect([...running.keys()]).toEqual([1, 2, 3]);
  });

  test("runs no more at once than there is room for, but one at least", async () => {
    const { running, map } = manual();
    void collect(mapOrdered(numbers(9), map, { concurrency: 9, room: 5, cost: (n) => n * 2 }));
    await turn();
    // 2 fits, 2 + 4 does not.
    expect([...running.keys()]).toEqual([1]);
    running.get(1)?.("one");
    await turn();
    running.get(2)?.("two");
    await turn();
    // 6 is too much for any room.
    expect([...running.keys()]).toEqual([1, 2, 3]);
  });

  test("an error of the source comes after the results before it", async () => {
    async function* failing() {
      yield 1;
      throw new Error("broken");
    }
    const results = mapOrdered(failing(), async (n) => n * 2, limits);
    expect(await results.next()).toEqual({ done: false, value: 2 });
    await expect(results.next()).rejects.toThrow("broken");
  });

  test("ends its source when the consumer leaves", async () => {
    let isEnded = false;
    async function* source() {
      try {
        yield* numbers(9);
      } finally {
        isEnded = true;
      }
    }
    for await (const _ of mapOrdered(source(), async (n) => n, limits)) {
      break;
    }
    expect(isEnded).toBe(true);
  });
});
