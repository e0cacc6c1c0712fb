import { Code, ConnectError } from "@connectrpc/connect";
import {
  errors,
  type Msg,
  type MsgHdrs,
  type NatsConnection,
  type Payload,
  type PublishOptions,
  type Subscription,
} from "@nats-io/nats-core";
import { causedError } from "../message/caused-error.js";
import type { HeaderBlock } from "../message/header.js";
import { readable } from "../message/readable.js";
import type { Sha256 } from "../message/sha256.js";
import { apiPrefix } from "../schema/api-prefix.js";
import { checkOwner } from "../schema/call-id.js";
import { checkDomain } from "./domain-name.js";
import { checkInboxPrefix } from "./inbox.js";
import { LateSends } from "./late-sends.js";
import { Listeners } from "./listeners.js";
import { Mux } from "./mux.js";
import type { CreateObserver, Observer } from "./observer.js";
import type { Payloads } from "./payloads.js";
import { Pulse } from "./pulse.js";
import { SendWindow } from "./send-window.js";
import { ServerClock } from "./server-clock.js";
import { startTimer } from "./timer.js";
import { givenUp, tooSmall } from "./useless-connection.js";

/** Queue group of all workers of a method: each request goes to one of them. */
export const queueGroup = "q";

/** All options have one shape: the NATS client then runs one optimized code. */
function optionsOf(reply: string, headers: MsgHdrs | undefined): PublishOptions {
  return { reply, headers } as object as PublishOptions;
}

/** Settings of a {@link Link}. */
export interface LinkOptions {
  readonly owner: string;
  readonly inboxPrefix: string | undefined;
  readonly domain?: string | undefined;
  /** Begins a hash. Default: one in JavaScript, several times slower than that of Node. */
  readonly createSha256?: (() => Sha256) | undefined;
  readonly observer?: CreateObserver | undefined;
}

/**
 * The part of a NATS connection that clients and workers share: its reply mux, its
 * state, its payload store.
 */
export class Link {
  readonly owner: string;
  readonly observer: Observer | undefined;
  readonly payloads: Payloads;
  readonly pulse = new Pulse((error) => this.fault(error));
  readonly mux: Mux;
  readonly clock = new ServerClock();
  /** Reads of streams that have no answer yet. */
  readonly reads = new SendWindow();
  /** Chunks of objects that are not stored yet. */
  readonly uploads = new SendWindow();
  private readonly onListenerFault = (error: unknown) => this.fault(error);
  private readonly disconnects = new Listeners<[]>(this.onListenerFault);
  private readonly reconnects = new Listeners<[]>(this.onListenerFault);
  private readonly denials = new Listeners<[subject: string, cause: Error]>(this.onListenerFault);
  /** Nobody is told when one of these throws. */
  private readonly faults = new Listeners<[error: unknown]>(() => undefined);
  /**
   * Resolves when the connection is closed: with the reason, unless it was asked for.
   * Unauthenticated means that the credentials were refused.
   */
  readonly closed: Promise<ConnectError | undefined>;
  private isConnected = true;
  private reason: ConnectError | undefined;
  private readonly late = new LateSends(
    (subject, payload) => {
      if (this.connected) {
        this.publish(subject, payload);
      }
    },
    (work) => this.guard(work),
  );

  constructor(
    readonly nats: NatsConnection,
    readonly options: LinkOptions,
    createPayloads: (link: Link) => Payloads,
  ) {
    this.owner = checkOwner(options.owner);
    const refusal = this.tooSmall();
    if (refusal) {
      throw refusal;
    }
    const { inboxPrefix, domain } = options;
    if (domain !== undefined) {
      checkDomain(domain);
    }
    this.mux = new Mux(
      nats,
      this.pulse,
      (take) => this.guarded(take),
      inboxPrefix && checkInboxPrefix(inboxPrefix),
    );
    this.payloads = createPayloads(this);
    this.observer = options.observer?.(nats);
    this.closed = nats.closed().then((error) => {
      this.pulse.end();
      this.reason ??= error ? givenUp(error) : undefined;
      return this.reason;
    });
    void this.watch();
  }

  /** False while the connection is lost: the client drops what is published then. */
  get connected(): boolean {
    return this.isConnected && !this.nats.isClosed();
  }

  /** The error of a call that cannot be sent. */
  get lost(): ConnectError {
    if (!this.isOver) {
      return new ConnectError(
        "the connection to NATS is lost, and is being made anew",
        Code.Unavailable,
      );
    }
    const { rawMessage = "the NATS connection is closed", code = Code.Unavailable } =
      this.reason ?? {};
    return causedError(rawMessage, code, this.reason);
  }

  /** True when the connection is closed for good, or about to be: its owner drains it. */
  private get isOver(): boolean {
    return this.nats.isClosed() || this.nats.isDraining();
  }

  /** Closes the connection, and has calls fail with the reason from now on. */
  async end(reason: ConnectError): Promise<void> {
    this.reason ??= reason;
    await this.nats.close();
  }

  /** The JetStream domain that is asked; undefined when it has no name. */
  get domain(): string | undefined {
    return this.options.domain ?? this.ownDomain;
  }

  /** The beginning of the subjects of JetStream's API, with a dot at the end. */
  get api(): string {
    return apiPrefix(this.options.domain, this.ownDomain);
  }

  private get ownDomain(): string | undefined {
    // The NATS client's type lacks it.
    return (this.nats.info as { readonly domain?: string } | undefined)?.domain;
  }

  /** Largest message that the server takes, in bytes, headers included. */
  get maxPayload(): number {
    return this.nats.info?.max_payload ?? 1024 * 1024;
  }

  /**
   * Publishes a request, with the subject of its reply. Throws the errors of the NATS client.
   */
  ask(subject: string, payload: Uint8Array, reply: string, headers: HeaderBlock | undefined): void {
    this.nats.publish(subject, payload, optionsOf(reply, headers?.asHeaders()));
  }

  /**
   * Publishes a message that nobody waits for. It is dropped when the connection is closed or
   * about to be: the NATS client throws then, and nobody could catch that in a timer.
   */
  publish(subject: string, payload?: Payload, options?: PublishOptions): void {
    try {
      this.nats.publish(subject, payload, options ?? optionsOf("", undefined));
    } catch (error) {
      if (
        !(error instanceof errors.DrainingConnectionError) &&
        !(error instanceof errors.ClosedConnectionError)
      ) {
        throw error;
      }
    }
  }

  /**
   * Publishes with the next request, or a moment later. Dropped when the connection is lost
   * meanwhile.
   */
  publishLate(subject: string, payload: string): void {
    this.late.add(subject, payload);
  }

  /** Publishes now what {@link publishLate} was given. */
  flushLate(): void {
    this.late.flush();
  }

  /**
   * Listens on a subject, in a queue group if one is named. Where the credentials
   * do not allow it, nothing comes, and `onDenied` is told. What `take` is given is
   * {@link readable}; what it throws is told by {@link onFault}. Throws {@link lost}
   * when the connection is closed for good.
   */
  subscribe(
    subject: string,
    take: (message: Msg) => void,
    { queue, onDenied }: { queue?: string; onDenied?: (cause: Error) => void } = {},
  ): Subscription {
    if (this.isOver) {
      throw this.lost;
    }
    const guarded = this.guarded(take);
    return this.nats.subscribe(subject, {
      ...(queue !== undefined && { queue }),
      callback: (error, message) => {
        if (error) {
          onDenied?.(error);
        } else {
          guarded(message);
        }
      },
    });
  }

  /**
   * Takes messages as `take` does, made {@link readable}, and never throws: what comes
   * out of a callback ends all reading of the NATS client.
   */
  private guarded(take: (message: Msg) => void): (message: Msg) => void {
    return (message) => {
      try {
        take(readable(message));
      } catch (error) {
        this.fault(error);
      }
    };
  }

  /** Does what nobody waits for, in a timer or for an event: what it throws is told by {@link onFault}. */
  guard(work: () => void): void {
    try {
      work();
    } catch (error) {
      this.fault(error);
    }
  }

  /** Calls the listener with what nobody could catch, until the returned function is called. */
  onFault(listener: (error: unknown) => void): () => void {
    return this.faults.add(listener);
  }

  /** Tells what nobody could catch by {@link onFault}. Never throws. */
  fault(error: unknown): void {
    this.faults.tell(error);
  }

  /** Tells the workers of a method that the caller who listens on a subject has left. */
  cancel(cancelSubject: string, replySubject: string): void {
    if (this.connected) {
      this.publish(cancelSubject, replySubject);
    }
  }

  /** Calls the listener when the connection is lost, until the returned function is called. */
  onDisconnect(listener: () => void): () => void {
    return this.disconnects.add(listener);
  }

  /** Calls the listener after each reconnect, until the returned function is called. */
  onReconnect(listener: () => void): () => void {
    return this.reconnects.add(listener);
  }

  /** Calls the listener when something may not be published, until the returned function is called. */
  onPublishDenied(listener: (subject: string, cause: Error) => void): () => void {
    return this.denials.add(listener);
  }

  /**
   * Waits until the connection is there. Throws Unavailable when it is not there
   * after `timeoutMs`, and {@link lost} when it is closed for good.
   */
  async whenConnected(timeoutMs: number): Promise<void> {
    if (!this.connected && !this.nats.isClosed()) {
      await new Promise<void>((resolve) => {
        const done = () => {
          stopTimer();
          stopListening();
          resolve();
        };
        const stopTimer = startTimer(done, timeoutMs);
        const stopListening = this.onReconnect(done);
      });
    }
    if (this.nats.isClosed()) {
      throw this.lost;
    }
    if (!this.connected) {
      throw new ConnectError(
        `the connection to NATS was not made anew within ${timeoutMs} ms`,
        Code.Unavailable,
      );
    }
  }

  private tooSmall(): ConnectError | undefined {
    return tooSmall(this.maxPayload, this.nats.getServer());
  }

  private async watch(): Promise<void> {
    for await (const status of this.nats.status()) {
      if (status.type === "disconnect") {
        this.notifyDisconnected();
      } else if (status.type === "reconnect") {
        const refusal = this.tooSmall();
        if (refusal) {
          void this.end(refusal);
          continue;
        }
        this.isConnected = true;
        this.reconnects.tell();
      } else if (
        status.type === "error" &&
        status.error instanceof errors.PermissionViolationError &&
        status.error.operation === "publish"
      ) {
        const { error } = status;
        this.guard(() => this.mux.denied(error.subject, error));
        this.denials.tell(error.subject, error);
      }
    }
    // Closed: nobody must wait for ever.
    this.notifyDisconnected();
    this.reconnects.tell();
  }

  private notifyDisconnected(): void {
    this.isConnected = false;
    this.guard(() => this.mux.disconnected());
    this.disconnects.tell();
  }
}

/** True when the server says that nobody listens on the subject of a request. */
export function isNoResponders(reply: Msg): boolean {
  return reply.data.length === 0 && reply.headers?.code === 503;
}
