/** Most values that wait for a reader: above it the oldest is superseded. */
const mostWaiting = 1_000;

/** Streams that many read: each is opened for its first reader, and ends with its last one. */
export class SharedStreams<T> {
  private readonly open = new Map<string, SharedStream<T>>();

  /**
   * Reads a stream: the last value that it gave, then each one that comes. `open` opens it, for
   * all who read the same key. Throws the reason of the signal, and what the stream ended with.
   */
  async *read(
    key: string,
    open: (signal: AbortSignal) => AsyncIterable<T>,
    signal: AbortSignal,
  ): AsyncGenerator<T, void, undefined> {
    let stream = this.open.get(key);
    if (!stream) {
      stream = new SharedStream(open, () => this.open.delete(key));
      this.open.set(key, stream);
    }
    const reader = stream.join();
    signal.addEventListener("abort", reader.wake);
    try {
      for (;;) {
        signal.throwIfAborted();
        const [next] = reader.waiting.splice(0, 1);
        if (next) {
          yield next.value;
        } else if (stream.end) {
          stream.end();
          return;
        } else {
          await reader.woken();
        }
      }
    } finally {
      signal.removeEventListener("abort", reader.wake);
      stream.leave(reader);
    }
  }
}

class SharedStream<T> {
  /** Throws what it ended with; absent while it goes on. */
  end: (() => void) | undefined;
  private last: { readonly value: T } | undefined;
  private readonly readers = new Set<Reader<T>>();
  private readonly left = new AbortController();

  constructor(
    open: (signal: AbortSignal) => AsyncIterable<T>,
    private readonly ended: () => void,
  ) {
    void this.run(open);
  }

  join(): Reader<T> {
    const reader = new Reader<T>();
    if (this.last) {
      reader.waiting.push(this.last);
    }
    this.readers.add(reader);
    return reader;
  }

  leave(reader: Reader<T>): void {
    this.readers.delete(reader);
    if (this.readers.size === 0 && !this.end) {
      // Whoever comes now opens it anew.
      this.ended();
      this.left.abort();
    }
  }

  private async run(open: (signal: AbortSignal) => AsyncIterable<T>): Promise<void> {
    try {
      for await (const value of open(this.left.signal)) {
        this.last = { value };
        for (const reader of this.readers) {
          reader.push(this.last);
        }
      }
      this.end = () => undefined;
    } catch (error) {
      this.end = () => {
        throw error;
      };
    }
    if (!this.left.signal.aborted) {
      this.ended();
    }
    for (const reader of this.readers) {
      reader.wake();
    }
  }
}

class Reader<T> {
  readonly waiting: { readonly value: T }[] = [];
  private resolve: (() => void) | undefined;

  readonly wake = (): void => this.resolve?.();

  push(next: { readonly value: T }): void {
    this.waiting.push(next);
    if (this.waiting.length > mostWaiting) {
      this.waiting.shift();
    }
    this.wake();
  }

  woken(): Promise<void> {
    return new Promise((resolve) => {
      this.resolve = resolve;
    });
  }
}
