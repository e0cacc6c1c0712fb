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
      // A callback of its own where nothing has to be waited for would cost a promise.
      const done = (result: Awaited<T>) => {
        this.onStep();
        resolve(result);
      };
      const failed = (error: unknown) => {
        this.onStep();
        reject(error);
      };
      try {
        const result = step();
        if (isThenable(result)) {
          Promise.resolve(result).then(done, failed);
        } else {
          done(result as Awaited<T>);
        }
      } catch (error) {
        failed(error);
      }
    });
  }

  /** Ends the step that runs, and all that follow, with the first reason that is given. */
  stop(reason: unknown): void {
    this.stopped ??= { reason };
    this.reject?.(this.stopped.reason);
  }
}

/** True for a promise, of whichever make. */
export function isThenable<T>(value: T | PromiseLike<T>): value is PromiseLike<T> {
  return typeof (value as PromiseLike<T> | undefined)?.then === "function";
}
