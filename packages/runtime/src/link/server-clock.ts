/** After this time the clocks may have come to differ, in ms. */
const freshMs = 600_000;

/**
 * The server's clock, as far as its answers tell it: it is taken to agree with that of this
 * process, and moved no further than an answer shows that it cannot.
 */
export class ServerClock {
  /** By how much it is ahead of Date.now(), in ms. */
  private aheadMs = 0;
  private learnedAt = Number.NEGATIVE_INFINITY;

  /**
   * The server has dated what happened between `sinceMs`, by this process's clock, and now. Both
   * dates are cut to whole ms.
   */
  learn(serverMs: number, sinceMs: number): void {
    if (serverMs > 0) {
      this.aheadMs = Math.max(this.aheadMs, serverMs - Date.now() - 1);
      this.aheadMs = Math.min(this.aheadMs, serverMs - sinceMs + 1);
      this.learnedAt = performance.now();
    }
  }

  /** True when nothing was learned of it for some time. */
  get isStale(): boolean {
    return performance.now() - this.learnedAt > freshMs;
  }

  /** What it says now, in ms since 1970. */
  get nowMs(): number {
    return Date.now() + this.aheadMs;
  }

  /** A time by the server's clock, as this process's clock has it. */
  toOwn(serverMs: number): number {
    return serverMs - this.aheadMs;
  }
}
