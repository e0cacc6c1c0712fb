import type { Msg } from "@nats-io/nats-core";
import type { Link } from "../link/link.js";
import { Pull, type PullEnd, type PullListener, type PullSource } from "../link/pull.js";
import type { Taker } from "./turns.js";

/** Wait before a pull that the server refused is repeated, in ms. */
const refusedPauseMs = 500;

/** The consumer that a queue is pulled from, and how its messages are handled. */
export interface Pulled extends PullSource {
  /** Handles a message. */
  run(message: Msg): Promise<void>;
  /** Gives back a message that is not to be begun here. */
  giveBack(message: Msg): Promise<void>;
  /** The server refused a pull: its consumer may be gone, or its leader changes. */
  refused(why: string): Promise<void>;
}

/** One of the queues that a puller pulls from, with its pulls at the server. */
export class Lane implements PullListener, Taker {
  isDry = false;
  /** It was asked in this sweep, and had nothing. */
  isSpent = false;
  private isPaused = false;
  private pause: ReturnType<typeof setTimeout> | undefined;
  private pulls: Pull[] = [];

  constructor(
    private readonly link: Link,
    readonly queue: Pulled,
    private readonly onMessage: (lane: Lane, message: Msg) => void,
    private readonly onEnd: () => void,
  ) {}

  get isLeftOut(): boolean {
    return this.isSpent || this.isPaused;
  }

  /** Messages that may still come. */
  get pending(): number {
    let pending = 0;
    for (const pull of this.pulls) {
      pending += pull.pending;
    }
    return pending;
  }

  /** Asks for messages, unless it was refused a moment ago. Without `expiresMs`: those that are there now. */
  ask(batch: number, expiresMs?: number): void {
    if (!this.isPaused) {
      this.idlePull()?.ask({ batch, ...(expiresMs !== undefined && { expiresMs }) });
    }
  }

  /** Asks for nothing any more. Resolves when all that was on its way has come. */
  async leave(): Promise<void> {
    const { pulls } = this;
    this.pulls = [];
    await Promise.all(pulls.map((pull) => pull.leave()));
  }

  /** The same for good. */
  stop(): Promise<void> {
    clearTimeout(this.pause);
    this.isPaused = true;
    return this.leave();
  }

  message(message: Msg): void {
    this.isDry = false;
    this.onMessage(this, message);
  }

  ended(end: PullEnd): void {
    this.isDry ||= end === "over";
    if (typeof end === "object" && !this.isPaused) {
      // Nothing but stop() ends the pause: the server would be asked again and again.
      this.isPaused = true;
      this.pause = setTimeout(() => {
        this.recover(end.refused).catch((error) => this.link.fault(error));
      }, refusedPauseMs);
    }
    this.onEnd();
  }

  private async recover(why: string): Promise<void> {
    try {
      if (this.link.connected) {
        await this.queue.refused(why);
      }
    } finally {
      this.isPaused = false;
      this.onEnd();
    }
  }

  /** Undefined when the connection is closed, or about to be. */
  private idlePull(): Pull | undefined {
    this.pulls = this.pulls.filter((pull) => !pull.hasEnded);
    const idle = this.pulls.find((pull) => pull.pending === 0);
    if (idle) {
      return idle;
    }
    try {
      const pull = new Pull(this.link, this.queue, this);
      this.pulls.push(pull);
      return pull;
    } catch {
      return undefined;
    }
  }
}
