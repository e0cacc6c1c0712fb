import type { Msg } from "@nats-io/nats-core";
import type { Link } from "../link/link.js";
import { Pull, type PullEnd, type PullListener, type PullSource } from "../link/pull.js";
import { WorkCount } from "./work-count.js";

/** How long a pull waits at the server, in ms. */
const expiresMs = 30_000;
/** Wait before a pull that the server refused is repeated, in ms. */
export const refusedPauseMs = 500;

/** The consumer that a {@link Puller} pulls from, and how it handles a message. */
export interface Pulled extends PullSource {
  /** Handles a message. */
  run(message: Msg): Promise<void>;
  /** Gives back a message that is not to be begun here. */
  giveBack(message: Msg): Promise<void>;
  /** The server refused a pull: its consumer may be gone, or its leader changes. */
  refused(why: string): Promise<void>;
}

/**
 * Pulls messages from a consumer, only as many as there are free slots, so that
 * none waits in a process that has no time for it.
 */
export class Puller implements PullListener {
  /** Counts the messages that run or are given back. */
  private readonly running: WorkCount;
  private readonly pulls: Pull[] = [];
  private stopListening: (() => void) | undefined;
  private isPaused = false;
  private isStopping = false;

  constructor(
    private readonly link: Link,
    private readonly concurrency: number,
    private readonly pulled: Pulled,
  ) {
    this.running = new WorkCount(link, () => this.pull());
  }

  start(): void {
    this.stopListening = this.link.onReconnect(() => this.pull());
    this.pull();
  }

  /** Takes nothing new; what is on its way is given back. A message that runs keeps running. */
  async stop(): Promise<void> {
    this.isStopping = true;
    this.stopListening?.();
    await Promise.all(this.pulls.map((pull) => pull.leave()));
  }

  /** Waits until nothing runs. */
  idle(): Promise<void> {
    return this.running.idle();
  }

  /** A pull that was given up may bring more messages than there are slots. */
  message(message: Msg): void {
    const isTaken = !this.isStopping && this.running.count < this.concurrency;
    this.running.add(isTaken ? this.pulled.run(message) : this.pulled.giveBack(message));
    // It may have been the last one of its pull, and slots be free since before.
    this.pull();
  }

  ended(end: PullEnd): void {
    if (typeof end === "string") {
      this.pull();
    } else {
      this.recover(end.refused).catch((error) => this.link.fault(error));
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
    const free = this.concurrency - this.running.count - outstanding;
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
    try {
      await new Promise((resolve) => setTimeout(resolve, refusedPauseMs));
      if (!this.isStopping && this.link.connected) {
        await this.pulled.refused(why);
      }
    } finally {
      this.isPaused = false;
      this.pull();
    }
  }
}
