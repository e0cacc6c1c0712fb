/** How often fast-check tries a property. `FC_RUNS=20` tries it twenty times as often, to look for what is rare. */
export function runs(count = 100): { numRuns: number } {
  return { numRuns: count * Number(process.env["FC_RUNS"] ?? 1) };
}
