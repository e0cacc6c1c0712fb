import type { Msg } from "@nats-io/nats-core";
import type { Link } from "../wire/link.js";
import { Pull, type PullEnd, type PullListener, type PullSource } from "../wire/pull.js";

/** How long a pull waits at the server, in ms. */
const expiresMs = 30_000;
/** Wait before a pull that the server refused is repeated, in ms. */
export const refusedPauseMs = 500;

/** What a {@link Puller} pulls, and what it does with it. */
export interface Pulled extends PullSource {
  /** Handles a message. Never rejects. */
  run(message: Msg): Promise<void>;
  /** Gives back a message that is not to be begun here. Never rejects. */
  giveBack(message: Msg): Promise<void>;
  /** The server refused a pull: its consumer may be gone, or its leader changes. */
  refused(why: string): Promise<void>;
}

/**
 * Pulls messages from a consumer, only as many as there are free slots, so that
 * none waits in a process that has no time for it.
 */
export class Puller implements PullListener {
  /** What runs or is given back. */
  private running = 0;
  private readonly idleListeners: (() => void)[] = [];
  private readonly pulls: Pull[] = [];
  private stopListening: (() => void) | undefined;
  private isPaused = false;
  private isStopping = false;

  constructor(
    private readonly link: Link,
    private readonly concurrency: number,
    private readonly pulled: Pulled,
  ) {}

  start(): void {
    this.stopListening = this.link.onReconnect(() => this.pull());
    this.pull();
  }

  /** Takes nothing new; what is on its way is given back. What runs keeps running. */
  async stop(): Promise<void> {
    this.isStopping = true;
    this.stopListening?.();
    await Promise.all(this.pulls.map((pull) => pull.leave()));
  }

  /** Waits until nothing runs. */
  async idle(): Promise<void> {
    while (this.running > 0) {
      await new Promise<void>((resolve) => {
        this.idleListeners.push(resolve);
      });
    }
  }

  /** What comes of a pull that was given up may be more than there are slots for. */
  message(message: Msg): void {
    const isTaken = !this.isStopping && this.running < this.concurrency;
    const work = isTaken ? this.pulled.run(message) : this.pulled.giveBack(message);
    this.running++;
    // Counted, not kept in a Set: see SlotTable.
    void work.finally(() => {
      this.running--;
      this.pull();
      if (this.running === 0) {
        for (const listener of this.idleListeners.splice(0)) {
          listener();
        }
      }
    });
    // It may have been the last one of its pull, and slots be free since before.
    this.pull();
  }

  ended(end: PullEnd): void {
    if (typeof end === "string") {
      this.pull();
    } else {
      void this.recover(end.refused);
    }
  }

  private pull(): void {
    if (this.isStopping || this.isPaused || !this.link.connected) {
      return;
    }
    let outstanding = 0;
    let pull: Pull | undefined;
    for (const each of this.pulls) {
      outstanding += each.pending;
      pull = each.pending === 0 && !each.hasEnded ? each : pull;
    }
    const free = this.concurrency - this.running - outstanding;
    if (free > 0 && (outstanding === 0 || free > this.concurrency / 2)) {
      (pull ?? this.open())?.ask({ batch: free, expiresMs });
    }
  }

  private open(): Pull | undefined {
    const lost = this.pulls.findIndex((each) => each.hasEnded);
    try {
      const pull = new Pull(this.link, this.pulled, this);
      this.pulls.splice(lost < 0 ? this.pulls.length : lost, 1, pull);
      return pull;
    } catch {
      // The connection is closed, or about to be.
      return undefined;
    }
  }

  private async recover(why: string): Promise<void> {
    if (this.isPaused || this.isStopping) {
      return;
    }
    this.isPaused = true;
    await new Promise((resolve) => setTimeout(resolve, refusedPauseMs));
    if (!this.isStopping && this.link.connected) {
      await this.pulled.refused(why);
    }
    this.isPaused = false;
    this.pull();
  }
}
