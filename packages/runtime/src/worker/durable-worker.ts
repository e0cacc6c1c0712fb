import { Code, ConnectError } from "@connectrpc/connect";
import type { Msg, Subscription } from "@nats-io/nats-core";
import { DeliveryCounts } from "../ledger/delivery-counts.js";
import { RunningCall } from "../ledger/running.js";
import { DeliveredRequest } from "../ledger/stored-request.js";
import type { Link } from "../link/link.js";
import { provisionMissing } from "../link/provision.js";
import { SlotTable } from "../link/slot-table.js";
import { quote } from "../message/header.js";
import { buryRequest } from "./bury-request.js";
import { DurableAttempt } from "./durable-attempt.js";
import type { Pulled } from "./lane.js";
import { Puller } from "./puller.js";
import type { ServedMethod } from "./served-method.js";

/** How exactly the time limits of attempts are kept, in ms. */
const tickMs = 50;

/** Serves the queued calls of one durable method. */
export class DurableWorker {
  private readonly attempts = new SlotTable<DurableAttempt>();
  private readonly puller: Puller;
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
    const queues = method.queues.map(({ consumer }) => this.pulled(consumer));
    this.puller = new Puller(link, concurrency, queues);
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
      run: (message) => this.run(message),
      giveBack: async (message) => {
        await this.runningCall(new DeliveredRequest(link, message))?.giveBack();
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

  /** Never throws. */
  private async run(message: Msg): Promise<void> {
    const { link, served } = this;
    try {
      const request = new DeliveredRequest(link, message);
      const running = this.runningCall(request);
      const problem = problemOf(request, running);
      if (running && !problem) {
        const attempt = new DurableAttempt(link, served, running);
        const slot = this.attempts.add(attempt);
        try {
          await attempt.run();
        } finally {
          this.attempts.delete(slot);
        }
      } else if (request.withdrawn) {
        request.terminate();
      } else {
        const { method, settings } = served;
        await buryRequest(link, method, settings.log, request, problem as ConnectError);
      }
    } catch (error) {
      // The server gives it out again.
      served.settings.log({
        level: "error",
        message: "a queued message could not be handled",
        method: served.method.desc.toString(),
        error,
      });
    }
  }

  /** Undefined for a message whose subject names no call. */
  private runningCall(request: DeliveredRequest): RunningCall | undefined {
    const { link, served, counts } = this;
    const { method, settings } = served;
    const call = request.callOf(method.service);
    return call && new RunningCall(link, method, call, request, counts, settings.session);
  }
}

/** Why a queued message is no request that can be run; undefined when it is one. */
function problemOf(
  { subject, defect, withdrawn }: DeliveredRequest,
  running: RunningCall | undefined,
): ConnectError | undefined {
  if (!running) {
    return new ConnectError(`subject ${quote(subject)} names no call`, Code.InvalidArgument);
  }
  // A withdrawn request is enough to end its call.
  return defect && !withdrawn
    ? new ConnectError(`the request cannot be read: ${defect}`, Code.InvalidArgument)
    : undefined;
}
