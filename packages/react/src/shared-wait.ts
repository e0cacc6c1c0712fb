/**
 * A wait that several components share: it begins with the first one that wants it, ends when
 * none does any more, and begins again where it was.
 */
export class SharedWait {
  private users = 0;
  private running: AbortController | undefined;
  private isDone = false;

  /** `wait` resolves to true when there is nothing left to wait for. */
  constructor(private readonly wait: (signal: AbortSignal) => Promise<boolean>) {}

  get isRunning(): boolean {
    return this.running !== undefined;
  }

  get isWanted(): boolean {
    return this.users > 0;
  }

  use(): void {
    this.users++;
    this.begin();
  }

  leave(): void {
    this.users--;
    // Not at once: StrictMode, and one page that follows another, leave and come back.
    setTimeout(() => {
      if (this.users === 0) {
        this.running?.abort();
        this.running = undefined;
      }
    });
  }

  private begin(): void {
    if (this.running || this.isDone) {
      return;
    }
    const running = new AbortController();
    this.running = running;
    void this.wait(running.signal).then((isDone) => {
      this.isDone ||= isDone;
      if (this.running === running) {
        this.running = undefined;
      }
    });
  }
}
