/** Shows how far something is: a bar on a terminal, a few lines elsewhere. */
export class ProgressBar {
  private readonly start = Date.now();
  private quarter = 0;
  private done = 0;

  constructor(
    private readonly total: number,
    private readonly unit: string,
  ) {}

  show(done: number): void {
    this.done = done;
    if (process.stdout.isTTY) {
      process.stdout.write(`\r${this.line()}`);
    } else if (Math.floor((4 * this.whole) / this.total) > this.quarter) {
      this.quarter = Math.floor((4 * this.whole) / this.total);
      console.log(this.line());
    }
  }

  /**
   * Shows the progress of a call until it ends; all of it is so many of the total. Its error is
   * told where its results are read.
   */
  async follow(
    call: { progress(): AsyncIterable<{ done: number; total: number }> },
    total: number,
  ): Promise<void> {
    let shown = 0;
    try {
      for await (const report of call.progress()) {
        const part = (total * report.done) / report.total;
        this.show(this.done + part - shown);
        shown = part;
      }
    } catch {}
  }

  /** Prints a line between two states of the bar. */
  note(text: string): void {
    console.log(process.stdout.isTTY ? `\n  ${text}` : `  ${text}`);
  }

  end(): void {
    if (process.stdout.isTTY) {
      process.stdout.write("\n");
    }
  }

  /** What is done as a whole: the sum of seven sevenths is 1. */
  private get whole(): number {
    return Math.floor(this.done + 1e-6);
  }

  private line(): string {
    const width = 30;
    const filled = Math.round((width * this.done) / this.total);
    const bar = "█".repeat(filled) + "░".repeat(width - filled);
    const seconds = ((Date.now() - this.start) / 1000).toFixed(1);
    return `  ${bar} ${this.whole} of ${this.total} ${this.unit}, ${seconds} s`;
  }
}
