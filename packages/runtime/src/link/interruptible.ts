/** What `next()` resolves with. */
export type Result<T> = IteratorResult<T, undefined>;

const done: IteratorReturnResult<undefined> = { done: true, value: undefined };

/**
 * Iterates over what a generator yields. Its return() ends a next() that waits, at once:
 * that of a generator waits behind it, for as long as that takes.
 */
export class Interruptible<T> implements AsyncIterableIterator<T, undefined> {
  private readonly waiting = new Set<(result: Result<T>) => void>();
  private first: Promise<Result<T>> | undefined;
  private isOver = false;

  constructor(
    private readonly source: AsyncGenerator<T, void, undefined>,
    /** Ends what the generator waits for, so that it can clean up. */
    private readonly interrupt: () => void = () => undefined,
  ) {}

  [Symbol.asyncIterator](): this {
    return this;
  }

  /** Waits for the first result, which next() gives, or throws, once more. */
  async peek(): Promise<void> {
    this.first = this.next();
    await this.first;
  }

  next(): Promise<Result<T>> {
    const { first } = this;
    if (first) {
      this.first = undefined;
      return first;
    }
    if (this.isOver) {
      return Promise.resolve(done);
    }
    return new Promise((resolve, reject) => {
      this.waiting.add(resolve);
      this.source.next().then(
        (result) => {
          this.waiting.delete(resolve);
          resolve(result as Result<T>);
        },
        (error) => {
          this.waiting.delete(resolve);
          reject(error);
        },
      );
    });
  }

  async return(): Promise<Result<T>> {
    this.isOver = true;
    this.first = undefined;
    for (const resolve of this.waiting) {
      resolve(done);
    }
    this.waiting.clear();
    this.interrupt();
    this.source.return().catch(() => undefined);
    return done;
  }
}
