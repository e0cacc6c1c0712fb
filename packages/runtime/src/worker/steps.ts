/** Runs a handler step by step, until something stops it. */
export class Steps {
  private reject: ((reason: unknown) => void) | undefined;
  private stopped: { readonly reason: unknown } | undefined;

  /** `onStep` is called after each step, before its result counts. */
  constructor(private readonly onStep: () => void) {}

  /** Waits for a step, or for what stops them. */
  run<T>(step: () => Promise<T> | T): Promise<Awaited<T>> {
    return new Promise((resolve, reject) => {
      if (this.stopped) {
        reject(this.stopped.reason);
        return;
      }
      this.reject = reject;
      // An async function, so that a step that throws at once rejects as well.
      void (async () => {
        try {
          const result = await step();
          this.onStep();
          resolve(result);
        } catch (error) {
          this.onStep();
          reject(error);
        }
      })();
    });
  }

  /** Ends the step that runs, and all that follow, with the first reason that is given. */
  stop(reason: unknown): void {
    this.stopped ??= { reason };
    this.reject?.(this.stopped.reason);
  }
}
