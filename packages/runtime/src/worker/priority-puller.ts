import type { Msg } from "@nats-io/nats-core";
import { Alarm } from "../link/alarm.js";
import type { Link } from "../link/link.js";
import { Pull, type PullEnd, type PullListener } from "../link/pull.js";
import { type Pulled, refusedPauseMs } from "./puller.js";
import { WorkCount } from "./work-count.js";

/** How long a pull waits at the server when nothing is queued, in ms. */
const expiresMs = 5_000;

/** How often it looks whether a lost connection is there again, in ms. */
const lookMs = 1_000;

/**
 * Whose turn it is, by index of the queue: of ten calls seven are of high priority,
 * two of normal and one of low, while each has some. So none starves.
 */
const turns = [0, 0, 0, 1, 0, 0, 2, 0, 1, 0] as const;

/** Pulls from the queues of a method by their priority, the highest first. */
export class PriorityPuller {
  private readonly lanes: readonly Lane[];
  /** Counts the messages that run or are given back. */
  private readonly running: WorkCount;
  private isStopping = false;
  private turn = 0;
  private readonly alarm = new Alarm();
  private loop: Promise<void> | undefined;

  constructor(
    private readonly link: Link,
    private readonly concurrency: number,
    queues: readonly Pulled[],
  ) {
    this.running = new WorkCount(link, () => this.alarm.ring());
    this.lanes = queues.map(
      (queue) => new Lane(link, queue, (message) => this.take(queue, message)),
    );
  }

  start(): void {
    this.loop = this.run();
  }

  /** Takes nothing new; what is on its way is given back. A message that runs keeps running. */
  async stop(): Promise<void> {
    this.isStopping = true;
    this.alarm.ring();
    await Promise.all(this.lanes.map((lane) => lane.leave()));
    await this.loop;
  }

  /** Waits until nothing runs. */
  idle(): Promise<void> {
    return this.running.idle();
  }

  private async run(): Promise<void> {
    while (!this.isStopping) {
      try {
        if (!this.link.connected || this.running.count >= this.concurrency) {
          await this.alarm.sleep(lookMs);
        } else if (!(await this.takeNow())) {
          await this.waitForAny();
        }
      } catch (error) {
        this.link.fault(error);
        await this.alarm.sleep(refusedPauseMs);
      }
    }
  }

  /** A message may come when no slot is free: it was on its way when another queue had the slot. */
  private take(queue: Pulled, message: Msg): void {
    const isTaken = !this.isStopping && this.running.count < this.concurrency;
    this.running.add(isTaken ? queue.run(message) : queue.giveBack(message));
  }

  /** Takes the next request that is queued, by the turns; false when there is none. */
  private async takeNow(): Promise<boolean> {
    const first = turns[this.turn++ % turns.length] ?? 0;
    for (const index of new Set([first, ...this.lanes.keys()])) {
      const lane = this.lanes[index];
      if (lane && !this.isStopping && (await this.ask(lane))) {
        return true;
      }
    }
    return false;
  }

  /** Waits at all queues, and leaves them when a request has come from one. */
  private async waitForAny(): Promise<void> {
    await Promise.all(
      this.lanes.map(async (lane) => {
        if (!this.isStopping && (await this.ask(lane, expiresMs))) {
          await Promise.all(this.lanes.map((other) => other !== lane && other.leave()));
        }
      }),
    );
  }

  /** Pulls one request, and takes it; false when there is none. */
  private async ask(lane: Lane, waitMs?: number): Promise<boolean> {
    const end = await lane.ask(waitMs);
    if (typeof end !== "object") {
      return end === "taken";
    }
    await this.alarm.sleep(refusedPauseMs);
    if (!this.isStopping && this.link.connected) {
      await lane.queue.refused(end.refused);
    }
    return false;
  }
}

/** Pulls from one queue, a request at a time. */
class Lane implements PullListener {
  private pull: Pull | undefined;
  private answer: ((end: PullEnd | "taken") => void) | undefined;

  constructor(
    private readonly link: Link,
    readonly queue: Pulled,
    private readonly take: (message: Msg) => void,
  ) {}

  /** Asks for a request. Resolves when it is taken, or why none came. */
  ask(waitMs: number | undefined): Promise<PullEnd | "taken"> {
    return new Promise((resolve) => {
      try {
        if (!this.pull || this.pull.hasEnded) {
          this.pull = new Pull(this.link, this.queue, this);
        }
      } catch {
        // The connection is closed, or about to be.
        resolve({ refused: "the connection is closed" });
        return;
      }
      this.answer = resolve;
      this.pull.ask({ batch: 1, ...(waitMs !== undefined && { expiresMs: waitMs }) });
    });
  }

  /** Ends a pull that waits. Resolves when what was on its way is taken. */
  async leave(): Promise<void> {
    if (this.answer) {
      await this.pull?.leave();
      this.finish("over");
    }
  }

  message(message: Msg): void {
    this.take(message);
    this.finish("taken");
  }

  ended(end: PullEnd): void {
    this.finish(end);
  }

  private finish(end: PullEnd | "taken"): void {
    this.answer?.(end);
    this.answer = undefined;
  }
}
