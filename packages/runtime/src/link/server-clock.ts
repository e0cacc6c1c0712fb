/** After this time the clocks may have come to differ, in ms. */
const freshMs = 600_000;

/** Date.now() and performance.now() come apart by more only where the time of day is set, in ms. */
const jitterMs = 250;

/**
 * The server's clock, as far as its answers tell it: it is taken to agree with that of this
 * process, and moved no further than an answer shows that it cannot. What is known of it is
 * forgotten when the clock of this process is set.
 */
export class ServerClock {
  /** By how much it is ahead of Date.now(), in ms. */
  private aheadMs = 0;
  private learnedAt = Number.NEGATIVE_INFINITY;
  private askedAt = Number.NEGATIVE_INFINITY;
  private originMs = Date.now() - performance.now();
  private asking: Promise<void> | undefined;

  /**
   * The server has dated what happened between `sinceMs`, by this process's clock, and now. Both
   * dates are cut to whole ms.
   */
  learn(serverMs: number, sinceMs: number): void {
    const nowMs = Date.now();
    // A clock that was set meanwhile has not measured how long it took.
    if (!this.wasSet() && serverMs > 0 && sinceMs <= nowMs) {
      this.aheadMs = Math.max(this.aheadMs, serverMs - nowMs - 1);
      this.aheadMs = Math.min(this.aheadMs, serverMs - sinceMs + 1);
      this.learnedAt = performance.now();
    }
  }

  /**
   * Asks the server for its date of what happened since `sinceMs`, unless something was learned not
   * long ago: once for all that wait, and not soon again when it refuses. Never throws.
   */
  async refresh(sinceMs: number, ask: () => Promise<number>): Promise<void> {
    if (this.isStale && !isFresh(this.askedAt)) {
      this.askedAt = performance.now();
      this.asking = ask()
        .then((serverMs) => this.learn(serverMs, sinceMs))
        .catch(() => undefined);
    }
    await this.asking;
  }

  /** What it says now, in ms since 1970: the same as this process's clock where it may be. */
  get nowMs(): number {
    return Date.now() + (this.isStale ? 0 : this.aheadMs);
  }

  /** A time by the server's clock, as this process's clock has it. */
  toOwn(serverMs: number): number {
    this.wasSet();
    return serverMs - this.aheadMs;
  }

  private get isStale(): boolean {
    return this.wasSet() || !isFresh(this.learnedAt);
  }

  /** True when the clock of this process was set since this was asked last. */
  private wasSet(): boolean {
    const originMs = Date.now() - performance.now();
    const isSet = Math.abs(originMs - this.originMs) > jitterMs;
    if (isSet) {
      this.originMs = originMs;
      this.aheadMs = 0;
      this.learnedAt = Number.NEGATIVE_INFINITY;
      this.askedAt = Number.NEGATIVE_INFINITY;
    }
    return isSet;
  }
}

function isFresh(atMs: number): boolean {
  return performance.now() - atMs < freshMs;
}
