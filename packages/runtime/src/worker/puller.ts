import type { Msg } from "@nats-io/nats-core";
import type { Link } from "../link/link.js";
import { Lane, type Pulled } from "./lane.js";
import { Turns } from "./turns.js";
import { WorkCount } from "./work-count.js";

/** How long a pull waits at the server, in ms. */
const expiresMs = 30_000;

/**
 * Pulls messages from one consumer, or from several by their priority, the highest first:
 * only as many as there are free slots, so that none waits in a process that has no time
 * for it.
 *
 * A single consumer is asked for what it has and gets. Of several each is asked for what it
 * has, with the free slots shared out in turns. Only when none has any all are waited at: a
 * pull that waits holds its slots, and those of a queue that stays empty would be lost to the
 * others.
 */
export class Puller {
  /** Counts the messages that run or are given back. */
  private readonly running: WorkCount;
  private readonly lanes: readonly Lane[];
  private readonly turns = new Turns();
  private stopListening: (() => void) | undefined;
  private isStopping = false;
  /** Of several lanes: none had any, and all are waited at. */
  private isWaiting = false;
  /** Pulls are being withdrawn: what they still bring takes slots. */
  private isLeaving = false;
  /** Something came since slots were last shared out. */
  private hasCome = false;

  constructor(
    private readonly link: Link,
    private readonly concurrency: number,
    queues: readonly Pulled[],
  ) {
    const pull = () => this.pull();
    this.running = new WorkCount(link, pull);
    this.lanes = queues.map(
      (queue) => new Lane(link, queue, (lane, message) => this.take(lane, message), pull),
    );
  }

  start(): void {
    this.stopListening = this.link.onReconnect(() => this.pull());
    this.pull();
  }

  /** Takes nothing new; what is on its way is given back. A message that runs keeps running. */
  async stop(): Promise<void> {
    this.isStopping = true;
    this.stopListening?.();
    await Promise.all(this.lanes.map((lane) => lane.stop()));
  }

  /** Waits until nothing runs. */
  idle(): Promise<void> {
    return this.running.idle();
  }

  /** Slots in which nothing runs; below 0 while messages are given back. */
  private get slots(): number {
    return this.concurrency - this.running.count;
  }

  private get outstanding(): number {
    let outstanding = 0;
    for (const lane of this.lanes) {
      outstanding += lane.pending;
    }
    return outstanding;
  }

  /** A pull that was given up may bring more messages than there are slots. */
  private take(lane: Lane, message: Msg): void {
    const { queue } = lane;
    const isTaken = !this.isStopping && this.slots > 0;
    this.running.add(isTaken ? queue.run(message) : queue.giveBack(message));
    this.hasCome = true;
    if (this.isWaiting && (lane.pending === 0 || this.outstanding > this.slots)) {
      // It may have more, and the others hold slots.
      this.leaveAll().catch((error) => this.link.fault(error));
    } else {
      // It may have been the last one of its pull, and slots be free since before.
      this.pull();
    }
  }

  private async leaveAll(): Promise<void> {
    this.isWaiting = false;
    this.isLeaving = true;
    try {
      await Promise.all(this.lanes.map((lane) => lane.leave()));
    } finally {
      this.isLeaving = false;
      this.pull();
    }
  }

  private pull(): void {
    if (this.isStopping || this.isLeaving || !this.link.connected) {
      return;
    }
    const { lanes, slots, outstanding } = this;
    const [first] = lanes;
    if (first && lanes.length === 1) {
      const free = slots - outstanding;
      if (free > 0 && (outstanding === 0 || free > this.concurrency / 2)) {
        first.ask(free, expiresMs);
      }
    } else if (slots > 0 && !this.isWaiting && outstanding === 0) {
      this.askInTurns(slots);
    } else if (slots > 0 && this.isWaiting) {
      this.waitAtAll(slots - outstanding);
    }
  }

  /** Asks for what is there. What a lane had not goes to the others with the next sweep. */
  private askInTurns(free: number): void {
    if (this.hasCome) {
      this.beginSweep();
    }
    const shares = this.turns.share(free, this.lanes);
    if (shares.every((share) => share === 0)) {
      this.beginSweep();
      this.isWaiting = true;
      this.waitAtAll(free);
      return;
    }
    for (const [index, lane] of this.lanes.entries()) {
      const share = shares[index] as number;
      if (share > 0) {
        lane.isSpent = true;
        lane.ask(share);
      }
    }
  }

  /** All lanes may be asked again. */
  private beginSweep(): void {
    this.hasCome = false;
    for (const lane of this.lanes) {
      lane.isSpent = false;
    }
  }

  /** Waits at each lane that is not waited at: with one slot at least, also when they are fewer. */
  private waitAtAll(free: number): void {
    const idle = this.lanes.filter(({ pending }) => pending === 0);
    const share = Math.max(1, Math.floor(free / idle.length));
    for (const lane of idle) {
      lane.ask(share, expiresMs);
    }
  }
}
