const never = Number.POSITIVE_INFINITY;

/** A wait that something heard ends. There is one at a time. */
export class Wait {
  private end: ((isHeard: boolean) => void) | undefined;
  /** When to end a long wait, by performance.now(). */
  private endsAt = never;

  /** Waits for so many ms. True when {@link ring} ended it. */
  for(ms: number): Promise<boolean> {
    return new Promise((resolve) => {
      const timer = setTimeout(() => this.over(false), Math.max(0, ms));
      this.end = (isHeard) => {
        clearTimeout(timer);
        resolve(isHeard);
      };
    });
  }

  /**
   * The same for some seconds, ended by {@link beat}: a timer for each call would cost as much
   * as its messages.
   */
  forSeconds(ms: number): Promise<boolean> {
    return new Promise((resolve) => {
      this.endsAt = performance.now() + ms;
      this.end = resolve;
    });
  }

  /** A second has passed; the time is that of performance.now(). */
  beat(now: number): void {
    if (now >= this.endsAt) {
      this.over(false);
    }
  }

  /** Something was heard. */
  ring(): void {
    this.over(true);
  }

  private over(isHeard: boolean): void {
    const { end } = this;
    this.end = undefined;
    this.endsAt = never;
    end?.(isHeard);
  }
}
