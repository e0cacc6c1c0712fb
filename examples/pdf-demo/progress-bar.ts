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
    } else if (Math.floor((4 * done) / this.total) > this.quarter) {
      this.quarter = Math.floor((4 * done) / this.total);
      console.log(this.line());
    }
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

  private line(): string {
    const width = 30;
    const filled = Math.round((width * this.done) / this.total);
    const bar = "█".repeat(filled) + "░".repeat(width - filled);
    const seconds = ((Date.now() - this.start) / 1000).toFixed(1);
    return `  ${bar} ${this.done} of ${this.total} ${this.unit}, ${seconds} s`;
  }
}
