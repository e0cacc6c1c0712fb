import type { Link } from "../link/link.js";

/** Counts what runs, and tells when nothing does. */
export class WorkCount {
  count = 0;
  private readonly idleListeners: (() => void)[] = [];

  /** `onDone` is called whenever something has ended. */
  constructor(
    private readonly link: Link,
    private readonly onDone: () => void,
  ) {}

  /** Work that is begun; what it rejects with is told by the link. */
  add(work: Promise<void>): void {
    // Counted, not kept in a Set: see SlotTable.
    this.count++;
    work.then(this.done, this.failed);
  }

  /** Waits until nothing runs. */
  async idle(): Promise<void> {
    while (this.count > 0) {
      await new Promise<void>((resolve) => {
        this.idleListeners.push(resolve);
      });
    }
  }

  private readonly done = () => {
    this.count--;
    this.link.guard(this.onDone);
    if (this.count === 0) {
      for (const listener of this.idleListeners.splice(0)) {
        listener();
      }
    }
  };

  private readonly failed = (error: unknown) => {
    this.link.fault(error);
    this.done();
  };
}
