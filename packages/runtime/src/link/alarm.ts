/** A sleep that can be ended early. Several may sleep at once. */
export class Alarm {
  private readonly sleepers = new Set<() => void>();

  /** Sleeps for so many ms. True when {@link ring} ended it before. */
  sleep(ms: number): Promise<boolean> {
    return new Promise((resolve) => {
      const end = (wasRung: boolean) => {
        clearTimeout(timer);
        this.sleepers.delete(wake);
        resolve(wasRung);
      };
      const wake = () => end(true);
      const timer = setTimeout(end, ms, false);
      this.sleepers.add(wake);
    });
  }

  /** Ends all sleeps. */
  ring(): void {
    for (const wake of [...this.sleepers]) {
      wake();
    }
  }
}
