import { UsageError } from "./exit-code.js";

/** The first moment of the year 10000. */
const endOfCalendar = Date.UTC(10_000);

const units = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 } as const;

/** Reads `500ms`, `90s`, `5m`, `2h` or `7d`, in ms. Throws UsageError, which names the option. */
export function durationOf(text: string, option: string): number {
  const [, count, unit] = /^(\d+(?:\.\d+)?)(ms|s|m|h|d)$/.exec(text) ?? [];
  if (count === undefined) {
    throw new UsageError(`${option} ${text} is no duration: write one like 500ms, 30s, 5m or 2h`);
  }
  return Number(count) * units[unit as keyof typeof units];
}

/** Reads a time, `2030-01-31T12:00:00Z`, or one so long from now or ago, `10m`. Throws UsageError. */
export function timeOf(text: string, option: string, way: "from now" | "ago" = "from now"): Date {
  const isDuration = /^\d+(\.\d+)?[a-z]+$/.test(text);
  const ms = isDuration ? durationOf(text, option) : 0;
  const time = new Date(isDuration ? Date.now() + (way === "ago" ? -ms : ms) : text);
  // Servers read years of four digits.
  if (!(isDuration || /^\d{4}-/.test(text)) || !(time.getTime() < endOfCalendar)) {
    throw new UsageError(
      `${option} ${text} is no time: write 2030-01-31T12:00:00Z, or how long ${way}: 10m`,
    );
  }
  return time;
}

/** `7d`, `90m`, `1500ms`: in the largest unit that it is a whole number of. */
export function showDuration(ms: number): string {
  const [unit, size] = Object.entries(units).findLast(([, each]) => ms % each === 0) ?? ["ms", 1];
  return `${ms / size}${unit}`;
}
