import { createInbox, type Msg, nanos, type Subscription } from "@nats-io/nats-core";
import type { Link } from "../wire/link.js";
import type { Pulled } from "./puller.js";

/** How long a pull waits at the server when nothing is queued, in ms. */
const expiresMs = 5_000;
/** Silence after which a pull counts as lost, in ms. */
const silenceMs = 2_000;
/** Wait after a pull that the server refused, in ms. */
const pauseMs = 500;

/**
 * Whose turn it is, by index of the queue: of ten calls seven are of high priority,
 * two of normal and one of low, while each has some. So none starves.
 */
const turns = [0, 0, 0, 1, 0, 0, 2, 0, 1, 0] as const;

/** Pulls from the queues of a method by their priority, the highest first. */
export class PriorityPuller {
  private readonly running = new Set<Promise<void>>();
  private isStopping = false;
  private turn = 0;
  private wake: (() => void) | undefined;
  private loop: Promise<void> | undefined;
  /** Requests that came while another queue had the slot: they are next. */
  private readonly pulls = new Set<Pull>();

  constructor(
    private readonly link: Link,
    private readonly concurrency: number,
    private readonly queues: readonly Pulled[],
  ) {}

  start(): void {
    this.loop = this.run();
  }

  async stop(): Promise<void> {
    this.isStopping = true;
    this.wake?.();
    for (const pull of this.pulls) {
      pull.cancel();
    }
    await this.loop;
  }

  async idle(): Promise<void> {
    while (this.running.size > 0) {
      await Promise.all(this.running);
    }
  }

  private async run(): Promise<void> {
    while (!this.isStopping) {
      if (!this.link.connected || this.running.size >= this.concurrency) {
        await this.pause(silenceMs);
        continue;
      }
      const taken = (await this.takeNow()) ?? (await this.waitForAny());
      if (taken) {
        this.begin(taken.queue, taken.message);
      }
    }
  }

  private begin(queue: Pulled, message: Msg): void {
    const work = this.isStopping ? queue.giveBack(message) : queue.run(message);
    const task = work.finally(() => {
      this.running.delete(task);
      this.wake?.();
    });
    this.running.add(task);
  }

  /** The next request that is queued, by the turns. */
  private async takeNow(): Promise<Taken | undefined> {
    const first = turns[this.turn++ % turns.length] ?? 0;
    const order = [first, ...this.queues.keys()];
    for (const index of new Set(order)) {
      const queue = this.queues[index];
      const message = queue && (await this.pull(queue, false));
      if (queue && message) {
        return { queue, message };
      }
    }
    return undefined;
  }

  /** Waits at all queues. What comes besides the first is given back. */
  private async waitForAny(): Promise<Taken | undefined> {
    let taken: Taken | undefined;
    const waiting: Pull[] = [];
    await Promise.all(
      this.queues.map(async (queue) => {
        const message = await this.pull(queue, true, waiting);
        if (!message) {
          return;
        }
        if (taken) {
          if (this.running.size + 1 < this.concurrency && !this.isStopping) {
            this.begin(queue, message);
          } else {
            await queue.giveBack(message);
          }
          return;
        }
        taken = { queue, message };
        for (const each of waiting) {
          each.cancel();
        }
      }),
    );
    return taken;
  }

  private async pull(queue: Pulled, wait: boolean, waiting: Pull[] = []): Promise<Msg | undefined> {
    let pull: Pull;
    try {
      pull = new Pull(this.link, queue, wait);
    } catch {
      // The connection is closed, or about to be.
      this.isStopping = true;
      return undefined;
    }
    this.pulls.add(pull);
    waiting.push(pull);
    try {
      return await pull.message;
    } catch (error) {
      await this.pause(pauseMs);
      if (!this.isStopping && this.link.connected) {
        await queue.refused(String(error));
      }
      return undefined;
    } finally {
      this.pulls.delete(pull);
    }
  }

  private pause(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const done = () => {
        clearTimeout(timer);
        this.wake = undefined;
        resolve();
      };
      const timer = setTimeout(done, ms);
      this.wake = done;
    });
  }
}

interface Taken {
  readonly queue: Pulled;
  readonly message: Msg;
}

/** One pull of one message. */
class Pull {
  /** The message; undefined when there is none. Rejects when the server refuses. */
  readonly message: Promise<Msg | undefined>;
  private readonly subscription: Subscription;
  private resolve: (message: Msg | undefined) => void = () => undefined;
  private reject: (why: string) => void = () => undefined;
  private timer: ReturnType<typeof setTimeout> | undefined;
  private isOver = false;

  constructor(link: Link, { stream, consumer }: Pulled, wait: boolean) {
    const inbox = createInbox(link.options.inboxPrefix);
    this.message = new Promise((resolve, reject) => {
      this.resolve = resolve;
      this.reject = reject;
    });
    this.subscription = link.subscribe(inbox, (message) => this.receive(message, inbox));
    this.listen();
    const patience = wait
      ? { expires: nanos(expiresMs), idle_heartbeat: nanos(silenceMs / 4) }
      : { no_wait: true };
    link.publish(
      `$JS.API.CONSUMER.MSG.NEXT.${stream}.${consumer}`,
      JSON.stringify({ batch: 1, ...patience }),
      { reply: inbox },
    );
  }

  /** Asks for nothing any more; a message that is on its way is still given. */
  cancel(): void {
    if (!this.isOver) {
      this.isOver = true;
      clearTimeout(this.timer);
      void this.subscription
        .drain()
        .catch(() => undefined)
        .then(() => this.resolve(undefined));
    }
  }

  private receive(message: Msg, inbox: string): void {
    if (message.subject !== inbox) {
      this.resolve(message);
      this.end();
      return;
    }
    const code = message.headers?.code ?? 0;
    if (code === 100) {
      this.listen();
      return;
    }
    if (code === 404 || code === 408) {
      this.resolve(undefined);
    } else {
      this.reject(`${code} ${message.headers?.description ?? ""}`);
    }
    this.end();
  }

  private listen(): void {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.cancel(), silenceMs);
  }

  private end(): void {
    this.isOver = true;
    clearTimeout(this.timer);
    this.subscription.unsubscribe();
  }
}
