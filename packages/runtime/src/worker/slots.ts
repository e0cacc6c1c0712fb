/** Counts the direct calls that run at once in a worker. */
export class Slots {
  private used = 0;
  private readonly listeners = new Set<() => void>();

  /** 0 is no limit. */
  constructor(readonly limit: number) {}

  get isFull(): boolean {
    return this.limit > 0 && this.used >= this.limit;
  }

  take(): void {
    this.used++;
    if (this.isFull) {
      this.changed();
    }
  }

  free(): void {
    const wasFull = this.isFull;
    this.used--;
    if (wasFull) {
      this.changed();
    }
  }

  /** Calls back when the last slot is taken, and when one is free again. */
  onChange(listener: () => void): void {
    this.listeners.add(listener);
  }

  private changed(): void {
    for (const listener of this.listeners) {
      listener();
    }
  }
}
