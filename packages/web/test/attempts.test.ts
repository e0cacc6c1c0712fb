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

/**
 * Requests that a firewall swallows, or a connection that died in the sleep of a laptop: the error
 * after five minutes, and how often it was tried.
 */
async function ask(
  persistence: Partial<Persistence>,
): Promise<{ error: ConnectError | undefined; tries: number }> {
  let tries = 0;
  const leaving = new AbortController();
  let error: unknown;
  const swallowed = (signal: AbortSignal) => {
    tries++;
    return new Promise((_, reject) =>
      signal.addEventListener("abort", () => reject(signal.reason)),
    );
  };
  const asking = attempt(swallowed, { signal: leaving.signal, ...persistence }).catch((its) => {
    error ??= its;
  });
  await vi.advanceTimersByTimeAsync(300_000);
  const known = { error: error as ConnectError | undefined, tries };
  leaving.abort();
  await asking;
  return known;
}

test("who never answers is none that can be reached; who has answered before is waited for", async () => {
  const inVain = new Reach(url);
  inVain.isTried = true;
  const { error, tries } = await ask({ reach: inVain });
  expect(tries).toBe(1);
  expect(error?.code).toBe(Code.Unavailable);
  expect(error?.rawMessage).toMatch(
    /^https:\/\/api\.example\.com cannot be reached: the connection was silent\. Check that/,
  );
  const reached = new Reach(url);
  reached.isTried = true;
  reached.isReached = true;
  expect(await ask({ reach: reached })).toEqual({ error: undefined, tries: 6 });
  // Nothing was sent yet: whoever gives the token hangs.
  expect(await ask({ reach: new Reach(url) })).toEqual({ error: undefined, tries: 6 });
  // A call may take its time.
  expect(await ask({})).toEqual({ error: undefined, tries: 6 });
});
