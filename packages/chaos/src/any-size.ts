import type { Random } from "./random.js";

/** A size in bytes: nothing, anything of any order, and often one near the largest. */
export function anySize(random: Random, largest: number): number {
  const sizes = [0, Math.floor(largest ** random.next()), random.between(largest / 2, largest)];
  return Math.floor(random.pick(sizes));
}
