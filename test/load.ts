/** Eight callers that make one call after the other until they are stopped. */
export class Load {
  /** Value and id of each call that has ended well. */
  readonly done: [value: number, callId: string][] = [];
  /** The longest time in which no call ended, in ms. */
  longestGapMs = 0;
  private readonly failures: unknown[] = [];
  private readonly callers: Promise<void>[];
  private isStopped = false;
  private next = 0;
  private lastAt = performance.now();
  private waiting: { readonly count: number; readonly resolve: () => void }[] = [];

  constructor(private readonly call: (value: number, callId: string) => Promise<void>) {
    this.callers = Array.from({ length: 8 }, () => this.run());
  }

  /** Resolves when so many more calls have ended well. */
  more(count: number): Promise<void> {
    return new Promise((resolve) => {
      this.waiting.push({ count: this.done.length + count, resolve });
    });
  }

  /** Waits for the calls that are under way. Returns what failed. */
  async stop(): Promise<readonly unknown[]> {
    this.isStopped = true;
    await Promise.all(this.callers);
    return this.failures;
  }

  private async run(): Promise<void> {
    while (!this.isStopped) {
      const value = this.next++;
      const callId = `load-${value}`;
      try {
        await this.call(value, callId);
        this.done.push([value, callId]);
      } catch (error) {
        this.failures.push(error);
      }
      const now = performance.now();
      this.longestGapMs = Math.max(this.longestGapMs, now - this.lastAt);
      this.lastAt = now;
      this.waiting = this.waiting.filter(({ count, resolve }) => {
        const isReached = this.done.length >= count;
        if (isReached) {
          resolve();
        }
        return !isReached;
      });
    }
  }
}
