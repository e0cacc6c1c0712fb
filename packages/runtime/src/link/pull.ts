import { type Msg, nanos, type Subscription } from "@nats-io/nats-core";
import { createInbox } from "./inbox.js";
import type { Link } from "./link.js";

/** How often the server says that a pull still waits, in ms. */
const heartbeatMs = 2_000;

/**
 * Beats without a message or a heartbeat after which a pull counts as lost, after a
 * change of leader, for example. They are counted, not timed: a process that stood
 * still has not read what came meanwhile.
 */
const silentBeats = 5;

/** Where messages are pulled from. */
export interface PullSource {
  readonly stream: string;
  readonly consumer: string;
}

/** How much a {@link Pull} asks for. */
export interface PullRequest {
  readonly batch: number;
  /** How long it waits for messages, in ms; left out: it takes what is there now. */
  readonly expiresMs?: number;
}

/**
 * Why a pull ended before all messages came: its time is over or nothing is there, the
 * connection or the pull itself is lost, or the server's reason to refuse it.
 */
export type PullEnd = "over" | "lost" | { readonly refused: string };

/** Takes what comes of a {@link Pull}. */
export interface PullListener {
  /** Also called for what comes of a pull that was given up. */
  message(message: Msg): void;
  /** Called once for each pull that does not get all its messages. */
  ended(end: PullEnd): void;
}

function pullSubject({ api }: Link, { stream, consumer }: PullSource): string {
  return `${api}CONSUMER.MSG.NEXT.${stream}.${consumer}`;
}

/**
 * Pulls messages of a consumer, one pull after the other. A message names the subject it
 * was stored on, and not the pull that it answers: each Pull so has a subscription of its
 * own, and never more than one pull at the server.
 */
export class Pull {
  /** Messages that may still come; 0 when no pull is at the server. */
  pending = 0;
  /** True when it can ask for nothing any more. */
  hasEnded = false;
  private readonly inbox: string;
  private readonly subscription: Subscription;
  private readonly stopListening: () => void;
  private readonly beat = () => this.tick();
  private silent = 0;
  private asked = 0;

  /** Throws when the connection is closed, or about to be. */
  constructor(
    private readonly link: Link,
    private readonly source: PullSource,
    private readonly listener: PullListener,
  ) {
    this.inbox = `${createInbox(link.options.inboxPrefix)}.`;
    this.subscription = link.subscribe(`${this.inbox}*`, (message) => this.receive(message));
    // A server may take the subscription of the next connection for this one.
    this.stopListening = link.onDisconnect(() => this.lose());
    link.pulse.add(this.beat);
  }

  /** Asks for messages. The pull before it must have ended. */
  ask({ batch, expiresMs }: PullRequest): void {
    this.pending = batch;
    this.silent = 0;
    this.asked++;
    this.link.pulse.start();
    this.link.publish(
      pullSubject(this.link, this.source),
      JSON.stringify({
        batch,
        ...(expiresMs === undefined
          ? { no_wait: true }
          : {
              expires: nanos(expiresMs),
              ...(expiresMs > 2 * heartbeatMs && { idle_heartbeat: nanos(heartbeatMs) }),
            }),
      }),
      { reply: this.inbox + this.asked },
    );
  }

  /**
   * Asks for nothing any more. The server drops a pull whose subject nobody listens to;
   * resolves when all that it sent before has come.
   */
  async leave(): Promise<void> {
    if (this.hasEnded) {
      return;
    }
    this.close();
    if (this.link.connected) {
      await this.subscription.drain().catch(() => undefined);
    } else if (!this.link.nats.isClosed()) {
      this.subscription.unsubscribe();
    }
  }

  private receive(message: Msg): void {
    this.silent = 0;
    // A message keeps the subject it was stored on; a status comes to the inbox.
    if (!message.subject.startsWith(this.inbox)) {
      if (this.pending > 0) {
        this.pending--;
      }
      this.listener.message(message);
      return;
    }
    const code = message.headers?.code ?? 0;
    const isOfThis = this.pending > 0 && message.subject.endsWith(`.${this.asked}`);
    if (code !== 100 && isOfThis) {
      this.pending = 0;
      const isPlain = code === 404 || code === 408;
      this.listener.ended(
        isPlain ? "over" : { refused: `${code} ${message.headers?.description ?? ""}`.trim() },
      );
    }
  }

  /** A second has passed. */
  private tick(): boolean {
    if (this.pending > 0 && ++this.silent > silentBeats) {
      this.lose();
    }
    return this.pending > 0;
  }

  private lose(): void {
    const wasWaiting = this.pending > 0;
    void this.leave();
    if (wasWaiting) {
      this.listener.ended("lost");
    }
  }

  private close(): void {
    this.hasEnded = true;
    this.pending = 0;
    this.stopListening();
    this.link.pulse.remove(this.beat);
  }
}
