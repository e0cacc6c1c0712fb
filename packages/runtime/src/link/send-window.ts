/**
 * Bytes that may be under way, of each kind: the server keeps for a connection what this
 * has not read yet, and cuts it above `max_pending`, 64 MB by default.
 */
const windowBytes = 4 * 1024 * 1024;

/** What is sent once there is room for it. */
interface Sendable {
  /** Sends, and takes room; does nothing where it is of no use any more. */
  sendNow(): void;
}

/**
 * Bounds the bytes that are sent and not known to be read. One message more than that may
 * be: it goes when less than the window is taken.
 */
export class SendWindow {
  private taken = 0;
  private readonly waiting: Sendable[] = [];
  private isServing = false;

  /** Sends at once, or when those before it have left room. */
  enter(item: Sendable): void {
    if (this.taken < windowBytes && this.waiting.length === 0) {
      item.sendNow();
    } else {
      this.waiting.push(item);
    }
  }

  /** Waits for room, and takes it. */
  acquire(bytes: number): Promise<void> {
    return new Promise((resolve) => {
      this.enter({
        sendNow: () => {
          this.take(bytes);
          resolve();
        },
      });
    });
  }

  take(bytes: number): void {
    this.taken += bytes;
  }

  /** Gives back what was taken. */
  free(bytes: number): void {
    this.taken -= bytes;
    if (this.waiting.length > 0) {
      this.serve();
    }
  }

  private serve(): void {
    // What cannot be sent frees nothing, and what ends at once frees its room in here.
    if (this.isServing) {
      return;
    }
    this.isServing = true;
    try {
      while (this.taken < windowBytes && this.waiting.length > 0) {
        this.waiting.shift()?.sendNow();
      }
    } finally {
      this.isServing = false;
    }
  }
}
