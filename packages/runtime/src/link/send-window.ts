/**
 * Bytes that may be under way, of each kind: the server keeps for a connection what this
 * has not read yet, and cuts it above `max_pending`, 64 MB by default.
 */
const windowBytes = 4 * 1024 * 1024;

/** An item that is sent once there is room for it. */
export interface Sendable {
  /** Bytes that it takes of the window: 0 at first, later for the window to change. */
  taken: number;
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

  /** Takes room; of an item that has none. */
  take(item: Sendable, bytes: number): void {
    item.taken = bytes;
    this.taken += bytes;
  }

  /** Gives back the room of an item, if it has any. */
  free(item: Sendable): void {
    this.taken -= item.taken;
    item.taken = 0;
    if (this.waiting.length > 0) {
      this.serve();
    }
  }

  /** Waits for room, and takes it while some work is done. */
  async hold<T>(bytes: number, work: () => Promise<T>): Promise<T> {
    const item: Sendable = { taken: 0, sendNow: () => undefined };
    await new Promise<void>((resolve) => {
      item.sendNow = () => {
        this.take(item, bytes);
        resolve();
      };
      this.enter(item);
    });
    try {
      return await work();
    } finally {
      this.free(item);
    }
  }

  private serve(): void {
    // An item that cannot be sent frees nothing, and one that ends at once frees its room in here.
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
