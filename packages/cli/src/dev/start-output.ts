import type { DevOutput, Level } from "./dev-output.js";

/** A run that lasts longer may be a good one: what it has said is shown then, in ms. */
const patienceMs = 3_000;

/** So many lines of a run are compared. */
const maxLines = 500;

interface Line {
  readonly text: string;
  readonly level: Level | undefined;
}

/**
 * The output of a process that fails and is started again, time after time. What it says each time
 * is shown once: lines that are those of the run before are held back, until one differs.
 */
export class StartOutput {
  private before: readonly Line[] = [];
  private lines: Line[] = [];
  private isHolding = false;
  private timer: NodeJS.Timeout | undefined;

  constructor(
    private readonly name: string,
    private readonly output: DevOutput,
  ) {}

  /** A run begins. `isRetry`: the run before failed, and nothing has changed since. */
  begin(isRetry: boolean): void {
    this.before = isRetry ? this.lines : [];
    this.lines = [];
    this.isHolding = isRetry;
    if (isRetry) {
      this.timer = setTimeout(() => this.show(), patienceMs).unref();
    }
  }

  /** Takes a line of the run. */
  readonly take = (text: string, level?: Level): void => {
    const { text: same, level: sameLevel } = this.before[this.lines.length] ?? {};
    if (this.isHolding && (same !== text || sameLevel !== level)) {
      this.show();
    }
    if (this.lines.length < maxLines) {
      this.lines.push({ text, level });
    }
    if (!this.isHolding) {
      this.output.write(this.name, text, level);
    }
  };

  /** The run has ended. True when it said what the run before said, and so nothing was shown. */
  end(): boolean {
    clearTimeout(this.timer);
    if (this.lines.length !== this.before.length) {
      this.show();
    }
    return this.isHolding;
  }

  /** Shows what is held back, and all that comes. */
  private show(): void {
    clearTimeout(this.timer);
    if (this.isHolding) {
      this.isHolding = false;
      for (const { text, level } of this.lines) {
        this.output.write(this.name, text, level);
      }
    }
  }
}
