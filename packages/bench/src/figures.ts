/** The figure that so great a part of all figures does not exceed. */
export function quantile(figures: readonly number[], part: number): number {
  const sorted = [...figures].sort((a, b) => a - b);
  return sorted[Math.floor(part * (sorted.length - 1))] ?? 0;
}

/** The median, and the least and the greatest figure. */
export interface Spread {
  readonly median: number;
  readonly lowest: number;
  readonly highest: number;
}

/** Of at least one figure. */
function spread(figures: readonly number[]): Spread {
  return {
    median: round3(quantile(figures, 0.5)),
    lowest: round3(Math.min(...figures)),
    highest: round3(Math.max(...figures)),
  };
}

/** With three digits after the point. */
export function round3(value: number): number {
  return Math.round(value * 1000) / 1000;
}

/** The reference's figure over the other's, round by round. */
export function ratios<T>(
  reference: readonly T[] | undefined,
  rounds: readonly T[],
  figure: (round: T) => number,
): Spread | undefined {
  const both = rounds.slice(0, reference?.length ?? 0);
  return both.length === 0
    ? undefined
    : spread(both.map((round, index) => figure(reference?.[index] as T) / figure(round)));
}
