import { Code, ConnectError } from "@connectrpc/connect";
import { type Msg, nuid, type Subscription } from "@nats-io/nats-core";
import { anyOwner, parseCallSubject } from "../wire/call-id.js";
import { storeDeadLetter } from "../wire/dead-letter.js";
import { Header } from "../wire/header.js";
import type { Link } from "../wire/link.js";
import { deliveryOf } from "../wire/log-reader.js";
import { provisionMissing } from "../wire/provision.js";
import { SlotTable } from "../wire/slot-table.js";
import { DurableAttempt } from "./durable-attempt.js";
import { PriorityPuller } from "./priority-puller.js";
import { type Pulled, Puller } from "./puller.js";
import type { ServedMethod } from "./settings.js";

/** How exactly the time limits of attempts are kept, in ms. */
const tickMs = 50;

/** Serves the queued calls of one durable method. */
export class DurableWorker {
  private readonly attempts = new SlotTable<DurableAttempt>();
  private readonly puller: Puller | PriorityPuller;
  private notices: Subscription | undefined;
  private heartbeat: ReturnType<typeof setInterval> | undefined;
  private ticker: ReturnType<typeof setInterval> | undefined;
  private stopListening: (() => void) | undefined;
  private beatAt = 0;

  constructor(
    private readonly link: Link,
    private readonly served: ServedMethod,
    concurrency: number,
  ) {
    const { method } = served;
    const pulled = method.queues.map(({ consumer }) => this.pulled(consumer));
    const [only] = pulled;
    this.puller =
      only && pulled.length === 1
        ? new Puller(link, concurrency, only)
        : new PriorityPuller(link, concurrency, pulled);
  }

  start(): void {
    const { method } = this.served;
    // Says that a call was canceled, or that another attempt has begun: its log tells which.
    this.notices = this.link.subscribe(method.cancelSubject, (message) => {
      const suffix = message.string();
      for (const attempt of this.attempts.values()) {
        if (attempt.isOf(suffix)) {
          void attempt.check();
        }
      }
    });
    this.stopListening = this.link.onReconnect(() => this.checkAll());
    this.ticker = setInterval(() => this.tick(), tickMs);
    this.beatAt = Date.now();
    this.heartbeat = setInterval(() => this.beat(), method.ackWaitMs / 3);
    this.puller.start();
  }

  /** Takes nothing new; what is on its way is given back. */
  stop(): Promise<void> {
    return this.puller.stop();
  }

  /** Waits until nothing runs, then stops the heartbeats. */
  async idle(): Promise<void> {
    await this.puller.idle();
    this.close();
  }

  /** Stops what runs, and gives it back. */
  abort(): void {
    for (const attempt of this.attempts.values()) {
      attempt.release();
    }
  }

  /** Stops the heartbeats. */
  close(): void {
    clearInterval(this.heartbeat);
    clearInterval(this.ticker);
    this.stopListening?.();
    if (this.link.connected) {
      this.notices?.unsubscribe();
    }
  }

  private tick(): void {
    const now = performance.now();
    for (const attempt of this.attempts.values()) {
      attempt.tick(now);
    }
  }

  private beat(): void {
    const late = Date.now() - this.beatAt > this.served.method.ackWaitMs;
    this.beatAt = Date.now();
    if (late) {
      // The process stood still: another worker may have taken over.
      this.checkAll();
    }
    for (const attempt of this.attempts.values()) {
      attempt.working();
    }
  }

  private checkAll(): void {
    for (const attempt of this.attempts.values()) {
      void attempt.check();
    }
  }

  private pulled(consumer: string): Pulled {
    const { link, served } = this;
    const { method, settings } = served;
    return {
      stream: method.service.stream,
      consumer,
      run: async (request) => {
        const attempt = this.attemptOf(request);
        if (!attempt) {
          await this.buryStray(request);
          return;
        }
        const slot = this.attempts.add(attempt);
        await attempt.run();
        this.attempts.delete(slot);
      },
      giveBack: async (request) => {
        await this.attemptOf(request)?.giveBack();
      },
      refused: async (why) => {
        const of = { method: method.desc.toString() };
        settings.log({ level: "warn", message: "a pull was refused", ...of, error: why });
        await provisionMissing(link, method.service, [method]).catch((error) =>
          settings.log({
            level: "error",
            message: "the queue of a method is out of order",
            ...of,
            error,
          }),
        );
      },
    };
  }

  private attemptOf(request: Msg): DurableAttempt | undefined {
    const call = parseCallSubject(this.served.method.service, request.subject);
    return call && new DurableAttempt(this.link, this.served, request, call);
  }

  /** A message on a subject that names no call: nobody can wait for it, no worker answer it. */
  private async buryStray(request: Msg): Promise<void> {
    const { link, served } = this;
    const { method, settings } = served;
    if (!request.headers?.has(Header.withdrawn)) {
      const error = new ConnectError(
        `subject ${request.subject} names no call`,
        Code.InvalidArgument,
      );
      const suffix = `${anyOwner}.stray.${nuid.next()}`;
      const { storedAtMs } = deliveryOf(request);
      settings.log({
        level: "error",
        message: "a queued message without call id became a dead letter",
        method: method.desc.toString(),
        error,
      });
      try {
        await storeDeadLetter(link, method, suffix, request, error, 0, storedAtMs);
      } catch {
        // The server gives it out again.
        return;
      }
    }
    link.publish(request.reply ?? "", "+TERM");
  }
}
