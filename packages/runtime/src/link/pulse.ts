/** Length of a beat, in ms. */
const beatMs = 1_000;

/** Beats without a message of one's own after which a heartbeat is sent. */
export const quietBeats = 2;

/**
 * Beats without a message of the other side after which it counts as lost. They
 * are counted, not timed: a process that stood still blames nobody else for it.
 */
export const silentBeats = 6;

/**
 * Beats once a second for all calls of a connection, and rests while there are
 * none. A timer for each call would cost more than the rest of it.
 */
export class Pulse {
  private readonly beats = new Set<() => boolean>();
  private timer: ReturnType<typeof setInterval> | undefined;
  private isOver = false;

  /** `onFault` is told what a beat throws. */
  constructor(private readonly onFault: (error: unknown) => void) {}

  /** Calls back at each beat; it returns whether it has calls that need one. */
  add(beat: () => boolean): void {
    this.beats.add(beat);
  }

  remove(beat: () => boolean): void {
    this.beats.delete(beat);
  }

  /** There is a call that needs beats. */
  start(): void {
    if (!this.isOver) {
      this.timer ??= setInterval(() => this.beat(), beatMs);
    }
  }

  /** The connection is closed: a beat to come would keep the process alive. */
  end(): void {
    this.isOver = true;
    this.rest();
  }

  private rest(): void {
    clearInterval(this.timer);
    this.timer = undefined;
  }

  private beat(): void {
    let isNeeded = false;
    for (const beat of this.beats) {
      try {
        isNeeded = beat() || isNeeded;
      } catch (error) {
        this.onFault(error);
        isNeeded = true;
      }
    }
    if (!isNeeded) {
      this.rest();
    }
  }
}
