/** What each entry of a series has, in the order of its numbers. */
export const columns = [
  "at",
  "accepted",
  "succeeded",
  "failed",
  "cancelled",
  "expired",
  "queued",
  "running",
  "handled",
  "errors",
  "duration",
] as const;

export type Column = (typeof columns)[number];

/** An entry of a series; NaN where nothing was measured. */
export type Entry = Readonly<Record<Column, number>>;

/** The last entries of a series: so many, and no more memory than they need. */
export class Ring {
  private readonly numbers: Float64Array;
  private count = 0;

  constructor(private readonly capacity: number) {
    this.numbers = new Float64Array(capacity * columns.length);
  }

  get length(): number {
    return Math.min(this.count, this.capacity);
  }

  push(entry: Entry): void {
    const start = (this.count % this.capacity) * columns.length;
    columns.forEach((column, i) => {
      this.numbers[start + i] = entry[column];
    });
    this.count++;
  }

  /** All entries, the oldest first, by column. */
  read(): Record<Column, number[]> {
    const { length } = this;
    const series = Object.fromEntries(columns.map((column) => [column, new Array(length)]));
    for (let i = 0; i < length; i++) {
      const start = ((this.count - length + i) % this.capacity) * columns.length;
      columns.forEach((column, j) => {
        (series[column] as number[])[i] = this.numbers[start + j] as number;
      });
    }
    return series as Record<Column, number[]>;
  }
}
