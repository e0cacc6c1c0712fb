import { createInbox, type Msg, nanos, type Subscription } from "@nats-io/nats-core";
import type { Link } from "../wire/link.js";

/** How long a pull waits at the server, in ms. */
const expiresMs = 30_000;
/** How often the server says that a pull still waits, in ms. */
const heartbeatMs = 2_000;
/** Silence after which a pull counts as lost, in ms: after a change of leader, for example. */
const silenceMs = 5_000;
/** Wait before a pull that the server refused is repeated, in ms. */
const pauseMs = 500;

/** What a {@link Puller} pulls, and what it does with it. */
export interface Pulled {
  readonly stream: string;
  readonly consumer: string;
  /** Handles a message. Never rejects. */
  run(message: Msg): Promise<void>;
  /** Gives back a message that came when it was too late to begin. Never rejects. */
  giveBack(message: Msg): Promise<void>;
  /** The server refused a pull: its consumer may be gone, or its leader changes. */
  refused(why: string): Promise<void>;
}

/**
 * Pulls messages from a consumer, only as many as there are free slots, so that
 * none waits in a process that has no time for it.
 */
export class Puller {
  private readonly inbox: string;
  private running = 0;
  private readonly idleListeners: (() => void)[] = [];
  private subscription: Subscription | undefined;
  private stopListening: (() => void) | undefined;
  private watchdog: ReturnType<typeof setInterval> | undefined;
  private outstanding = 0;
  private heardAt = 0;
  private pulls = 0;
  private isPaused = false;
  private isStopping = false;

  constructor(
    private readonly link: Link,
    private readonly concurrency: number,
    private readonly pulled: Pulled,
  ) {
    this.inbox = `${createInbox(link.options.inboxPrefix)}.`;
  }

  start(): void {
    this.subscription = this.link.subscribe(`${this.inbox}*`, (message) => this.receive(message));
    this.stopListening = this.link.onReconnect(() => this.pullAnew());
    this.watchdog = setInterval(() => {
      if (this.outstanding > 0 && Date.now() - this.heardAt > silenceMs) {
        this.pullAnew();
      }
    }, heartbeatMs);
    this.pull();
  }

  /** Takes nothing new; what is on its way is given back. What runs keeps running. */
  async stop(): Promise<void> {
    this.isStopping = true;
    clearInterval(this.watchdog);
    this.stopListening?.();
    if (this.link.connected) {
      // Without interest in its inbox the server drops the pull.
      await this.subscription?.drain().catch(() => undefined);
    }
  }

  /** Waits until nothing runs. */
  async idle(): Promise<void> {
    while (this.running > 0) {
      await new Promise<void>((resolve) => {
        this.idleListeners.push(resolve);
      });
    }
  }

  private pullAnew(): void {
    this.outstanding = 0;
    this.pull();
  }

  private pull(): void {
    const free = this.concurrency - this.running - this.outstanding;
    const isWorthIt = this.outstanding === 0 || free > this.concurrency / 2;
    if (this.isStopping || this.isPaused || !this.link.connected || free <= 0 || !isWorthIt) {
      return;
    }
    this.outstanding += free;
    this.heardAt = Date.now();
    this.link.publish(
      `$JS.API.CONSUMER.MSG.NEXT.${this.pulled.stream}.${this.pulled.consumer}`,
      JSON.stringify({
        batch: free,
        expires: nanos(expiresMs),
        idle_heartbeat: nanos(heartbeatMs),
      }),
      { reply: `${this.inbox}${this.pulls++}` },
    );
  }

  private receive(message: Msg): void {
    this.heardAt = Date.now();
    // A message keeps the subject it was stored on; a status comes to the inbox.
    if (message.subject.startsWith(this.inbox)) {
      this.receiveStatus(message);
      return;
    }
    this.outstanding = Math.max(0, this.outstanding - 1);
    const work = this.isStopping ? this.pulled.giveBack(message) : this.pulled.run(message);
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
  }

  private receiveStatus(message: Msg): void {
    const code = message.headers?.code ?? 0;
    if (code === 100) {
      return;
    }
    const unfilled = message.headers?.get("Nats-Pending-Messages");
    this.outstanding = unfilled ? Math.max(0, this.outstanding - Number(unfilled)) : 0;
    if (code === 408) {
      this.pull();
    } else {
      void this.recover(`${code} ${message.headers?.description ?? ""}`);
    }
  }

  private async recover(why: string): Promise<void> {
    if (this.isPaused || this.isStopping) {
      return;
    }
    this.isPaused = true;
    await new Promise((resolve) => setTimeout(resolve, pauseMs));
    if (!this.isStopping && this.link.connected) {
      await this.pulled.refused(why);
    }
    this.isPaused = false;
    this.pullAnew();
  }
}
