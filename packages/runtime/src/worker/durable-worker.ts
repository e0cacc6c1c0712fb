import { Code, ConnectError } from "@connectrpc/connect";
import type { Msg, Subscription } from "@nats-io/nats-core";
import type { Link } from "../link/link.js";
import { provisionMissing } from "../link/provision.js";
import { SlotTable } from "../link/slot-table.js";
import { Header, quote } from "../message/header.js";
import { defectOf } from "../message/readable.js";
import type { ServiceBinding } from "../schema/binding.js";
import { type CallName, parseCallSubject } from "../schema/call-id.js";
import { buryRequest } from "./bury-request.js";
import { DeliveryCounts } from "./delivery-counts.js";
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
  private readonly counts: DeliveryCounts;
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
    this.counts = new DeliveryCounts(link, method);
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
    this.stopListening = this.link.onReconnect(() => {
      for (const attempt of this.attempts.values()) {
        attempt.announceSoon();
      }
      this.checkAll();
    });
    this.ticker = setInterval(() => this.link.guard(() => this.tick()), tickMs);
    this.beatAt = Date.now();
    this.heartbeat = setInterval(() => this.link.guard(() => this.beat()), method.ackWaitMs / 3);
    void this.counts.start().then(() => this.puller.start());
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
    this.counts.stop();
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
        try {
          await this.run(request);
        } catch (error) {
          // The server gives it out again.
          settings.log({
            level: "error",
            message: "a queued message could not be handled",
            method: method.desc.toString(),
            error,
          });
        }
      },
      giveBack: async (request) => {
        if (parseCallSubject(method.service, request.subject)) {
          await this.attemptOf(request).giveBack();
        }
      },
      refused: async (why) => {
        const of = { method: method.desc.toString() };
        settings.log({ level: "warn", message: "a pull was refused", ...of, error: why });
        try {
          await provisionMissing(link, method.service, [method]);
          await this.counts.doubtAnew();
        } catch (error) {
          const message = "the queue of a method is out of order";
          settings.log({ level: "error", message, ...of, error });
        }
      },
    };
  }

  private async run(request: Msg): Promise<void> {
    const problem = problemOf(this.served.method.service, request);
    if (!problem) {
      const attempt = this.attemptOf(request);
      const slot = this.attempts.add(attempt);
      try {
        await attempt.run();
      } finally {
        this.attempts.delete(slot);
      }
    } else if (request.headers?.has(Header.withdrawn)) {
      this.link.publish(request.reply ?? "", "+TERM");
    } else {
      const { method, settings } = this.served;
      await buryRequest(this.link, method, settings.log, request.subject, request, problem);
    }
  }

  private attemptOf(request: Msg): DurableAttempt {
    const { link, served } = this;
    const call = parseCallSubject(served.method.service, request.subject);
    return new DurableAttempt(link, served, request, call as CallName, this.counts);
  }
}

/** Why a queued message is no request that can be run; undefined when it is one. */
function problemOf(service: ServiceBinding, request: Msg): ConnectError | undefined {
  const { subject, headers } = request;
  if (!parseCallSubject(service, subject)) {
    return new ConnectError(`subject ${quote(subject)} names no call`, Code.InvalidArgument);
  }
  const defect = headers && defectOf(request);
  // What withdraws a request is enough to end its call.
  return defect && !headers.has(Header.withdrawn)
    ? new ConnectError(`the request cannot be read: ${defect}`, Code.InvalidArgument)
    : undefined;
}
