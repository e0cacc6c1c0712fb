import { Code, type ConnectError } from "@jetrpc/runtime";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { attempt, attempts, type Persistence } from "../src/attempts.js";
import { connectionLost } from "../src/connection-lost.js";
import { Reach } from "../src/reach.js";

const url = "https://api.example.com";

// Minutes pass here, and none of them is waited for.
beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

/** Reads attempts until some time is over; returns how many there were. */
async function countAttempts(ms: number, open: () => AsyncIterable<number>): Promise<number> {
  let count = 0;
  const leaving = new AbortController();
  const counted = () => {
    count++;
    return open();
  };
  const reading = (async () => {
    for await (const _ of attempts(counted, { signal: leaving.signal })) {
    }
  })().catch(() => undefined);
  await vi.advanceTimersByTimeAsync(ms);
  leaving.abort();
  await vi.advanceTimersByTimeAsync(60_000);
  await reading;
  return count;
}

const lost = () => connectionLost(url, new TypeError("cut"));

const wait = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

test("a stream that is cut as soon as it has begun is not asked for ten times a second", async () => {
  const count = await countAttempts(600_000, async function* () {
    yield 1;
    throw lost();
  });
  expect(count).toBeGreaterThan(60);
  expect(count).toBeLessThan(150);
});

test("a stream that is cut now and then goes on at once", async () => {
  const count = await countAttempts(600_000, async function* () {
    yield 1;
    await wait(5_000);
    throw lost();
  });
  // A cut every five seconds, and a pause of a tenth of one.
  expect(count).toBeGreaterThan(115);
});

/** A request that a firewall swallows: its error, or undefined while it is waited for. */
async function ask(persistence: Partial<Persistence>): Promise<ConnectError | undefined> {
  const leaving = new AbortController();
  let error: unknown;
  const swallowed = (signal: AbortSignal) =>
    new Promise((_, reject) => signal.addEventListener("abort", () => reject(signal.reason)));
  const asking = attempt(swallowed, { signal: leaving.signal, ...persistence }).catch((its) => {
    error ??= its;
  });
  await vi.advanceTimersByTimeAsync(300_000);
  const known = error as ConnectError | undefined;
  leaving.abort();
  await asking;
  return known;
}

test("who never answers is none that can be reached; who has answered before is waited for", async () => {
  const never = await ask({ reach: new Reach(url) });
  expect(never?.code).toBe(Code.Unavailable);
  expect(never?.rawMessage).toMatch(
    /^https:\/\/api\.example\.com cannot be reached: the connection was silent\. Check that/,
  );
  const reached = new Reach(url);
  reached.isReached = true;
  expect(await ask({ reach: reached })).toBeUndefined();
  // A call may take its time.
  expect(await ask({})).toBeUndefined();
});
