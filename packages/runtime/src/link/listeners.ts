/** Functions that are told of an event, in the order in which they were added. */
export class Listeners<A extends readonly unknown[]> {
  private readonly all = new Set<(...args: A) => void>();

  /** `onFault` is told what a listener throws. */
  constructor(private readonly onFault: (error: unknown) => void) {}

  /** Calls the listener from now on, until the returned function is called. */
  add(listener: (...args: A) => void): () => void {
    this.all.add(listener);
    return () => this.all.delete(listener);
  }

  /** Calls all listeners that were added before. Never throws. */
  tell(...args: A): void {
    for (const listener of [...this.all]) {
      try {
        listener(...args);
      } catch (error) {
        this.onFault(error);
      }
    }
  }
}
