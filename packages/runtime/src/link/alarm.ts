/** A sleep that can be ended early. One sleeps at a time. */
export class Alarm {
  private wake: (() => void) | undefined;

  /** Sleeps for so many ms. True when {@link ring} ended it before. */
  sleep(ms: number): Promise<boolean> {
    return new Promise((resolve) => {
      const done = (wasRung: boolean) => {
        clearTimeout(timer);
        this.wake = undefined;
        resolve(wasRung);
      };
      const timer = setTimeout(done, ms, false);
      this.wake = () => done(true);
    });
  }

  /** Ends a sleep; does nothing when nobody sleeps. */
  ring(): void {
    this.wake?.();
  }
}
