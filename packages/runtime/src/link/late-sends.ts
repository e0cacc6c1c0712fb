/** How long a message that is in no hurry waits for another one to go with, in ms. */
const lateMs = 20;

/**
 * Holds messages that are in no hurry until something else is sent, or for a moment: a
 * write to the socket costs more than all else, and they need none of their own.
 */
export class LateSends {
  private readonly waiting: { readonly subject: string; readonly payload: string }[] = [];
  private timer: ReturnType<typeof setTimeout> | undefined;

  constructor(
    private readonly publish: (subject: string, payload: string) => void,
    /** Does the work of a timer, and tells what it throws. */
    private readonly guard: (work: () => void) => void,
  ) {}

  add(subject: string, payload: string): void {
    this.waiting.push({ subject, payload });
    this.timer ??= setTimeout(() => {
      this.timer = undefined;
      this.guard(() => this.flush());
    }, lateMs);
  }

  /** Sends what waits. */
  flush(): void {
    if (this.waiting.length > 0) {
      for (const { subject, payload } of this.waiting.splice(0)) {
        this.publish(subject, payload);
      }
    }
  }
}
