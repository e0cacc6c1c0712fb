import { onTestFailed } from "vitest";

/**
 * Numbers by chance for the test that runs: whole ones from 0 to below a given one. A test that
 * fails prints their seed, and `TEST_SEED=<seed>` has the same numbers again.
 */
export function chance(): (below: number) => number {
  const seed = Number(process.env["TEST_SEED"] ?? Date.now() % 1_000_000);
  onTestFailed(() => console.error(`to have the same numbers again: TEST_SEED=${seed}`));
  let state = seed;
  return (below) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
}
