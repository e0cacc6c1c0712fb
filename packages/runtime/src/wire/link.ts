import { Code, ConnectError } from "@connectrpc/connect";
import { errors, type Msg, type NatsConnection } from "@nats-io/nats-core";
import { checkOwner } from "./call-id.js";
import type { HeaderBlock } from "./header.js";
import { Mux, type Reply } from "./mux.js";
import { PayloadStore } from "./payload-store.js";
import { Pulse, silentBeats } from "./pulse.js";

/** Settings of a {@link Link}. */
export interface LinkOptions {
  readonly owner: string;
  readonly inboxPrefix: string | undefined;
}

/** A request that {@link Link.request} sends. */
export interface Request {
  readonly subject: string;
  readonly payload: Uint8Array;
  readonly headers?: HeaderBlock | undefined;
  /** How long to wait for the reply, in ms; 0 for no limit. */
  readonly timeoutMs: number;
  readonly signal?: AbortSignal | undefined;
  /**
   * Set when a worker answers: it sends heartbeats while it works, and its
   * silence means that it is gone.
   */
  readonly worker?: WorkerRequest | undefined;
}

/** What a request to a worker needs besides. */
export interface WorkerRequest {
  /** Subject on which workers hear that the caller has left. */
  readonly cancelSubject: string;
}

/**
 * What client and worker share of one NATS connection: its reply mux, its
 * state, its payload store.
 */
export class Link {
  readonly owner: string;
  readonly payloads: PayloadStore;
  readonly pulse = new Pulse();
  readonly mux: Mux;
  private readonly disconnectListeners = new Set<() => void>();
  private readonly reconnectListeners = new Set<() => void>();
  private isConnected = true;

  constructor(
    readonly nats: NatsConnection,
    readonly options: LinkOptions,
  ) {
    this.owner = checkOwner(options.owner);
    this.mux = new Mux(nats, this.pulse, options.inboxPrefix);
    this.payloads = new PayloadStore(nats);
    void this.watch();
  }

  /** False while the connection is lost: the client drops what is published then. */
  get connected(): boolean {
    return this.isConnected && !this.nats.isClosed();
  }

  /** Largest message that the server takes, in bytes, headers included. */
  get maxPayload(): number {
    return this.nats.info?.max_payload ?? 1024 * 1024;
  }

  /**
   * Sends a request and waits for one reply.
   *
   * The reply may be a status of the server: see {@link isNoResponders}.
   * Errors: Unavailable when the connection is or gets lost, DeadlineExceeded,
   * Canceled, PermissionDenied, ResourceExhausted when it is too large.
   */
  request(request: Request): Promise<Msg> {
    return new Promise((resolve, reject) => {
      new PendingReply(this, this.mux, request, resolve, reject).send();
    });
  }

  /** Tells the workers of a method that the caller who listens on a subject has left. */
  cancel(cancelSubject: string, replySubject: string): void {
    if (this.connected) {
      this.nats.publish(cancelSubject, replySubject);
    }
  }

  /** Calls the listener when the connection is lost, until the returned function is called. */
  onDisconnect(listener: () => void): () => void {
    this.disconnectListeners.add(listener);
    return () => this.disconnectListeners.delete(listener);
  }

  /** Calls the listener after each reconnect, until the returned function is called. */
  onReconnect(listener: () => void): () => void {
    this.reconnectListeners.add(listener);
    return () => this.reconnectListeners.delete(listener);
  }

  /**
   * Waits until the connection is there. Throws Unavailable when it is closed
   * for good, or is not there after `timeoutMs`.
   */
  async whenConnected(timeoutMs: number): Promise<void> {
    if (!this.connected && !this.nats.isClosed()) {
      await new Promise<void>((resolve) => {
        const done = () => {
          clearTimeout(timer);
          stopListening();
          resolve();
        };
        const timer = setTimeout(done, timeoutMs);
        const stopListening = this.onReconnect(done);
      });
    }
    if (this.nats.isClosed()) {
      throw new ConnectError("the NATS connection is closed", Code.Unavailable);
    }
    if (!this.connected) {
      throw new ConnectError(
        `the connection to NATS was not made anew within ${timeoutMs} ms`,
        Code.Unavailable,
      );
    }
  }

  private async watch(): Promise<void> {
    for await (const status of this.nats.status()) {
      if (status.type === "disconnect") {
        this.notifyDisconnected();
      } else if (status.type === "reconnect") {
        this.isConnected = true;
        this.notifyReconnected();
      } else if (
        status.type === "error" &&
        status.error instanceof errors.PermissionViolationError &&
        status.error.operation === "publish"
      ) {
        this.mux.denied(status.error.subject, status.error);
      }
    }
    // Closed: whoever waits must not wait for ever.
    this.notifyDisconnected();
    this.notifyReconnected();
  }

  private notifyDisconnected(): void {
    this.isConnected = false;
    this.mux.disconnected();
    for (const listener of [...this.disconnectListeners]) {
      listener();
    }
  }

  private notifyReconnected(): void {
    for (const listener of [...this.reconnectListeners]) {
      listener();
    }
  }
}

/** The error of a call whose caller's signal fired: what it was aborted with, or Canceled. */
export function canceled(signal: AbortSignal | undefined): ConnectError {
  const reason: unknown = signal?.reason;
  return reason instanceof ConnectError
    ? reason
    : new ConnectError("the call was canceled", Code.Canceled, undefined, undefined, reason);
}

/** True when the server says that nobody listens on the subject of a request. */
export function isNoResponders(reply: Msg): boolean {
  return reply.data.length === 0 && reply.headers?.code === 503;
}

/** Timeouts above this get their timer when less is left of them, in ms: most calls never need one. */
const lazyTimerMs = 2_000;

/** One request that waits for its reply. */
class PendingReply implements Reply {
  private readonly token: string;
  private timer: ReturnType<typeof setTimeout> | undefined;
  private endsAt = 0;
  private silent = 0;

  constructor(
    private readonly link: Link,
    private readonly mux: Mux,
    private readonly request: Request,
    private readonly resolve: (message: Msg) => void,
    private readonly reject: (error: ConnectError) => void,
  ) {
    this.token = mux.open(this);
  }

  publishesTo(subject: string): boolean {
    return subject === this.request.subject;
  }

  send(): void {
    const { subject, payload, headers, timeoutMs, signal } = this.request;
    if (!this.link.connected) {
      this.fail("the connection to NATS is lost, and is being made anew", Code.Unavailable);
      return;
    }
    if (signal) {
      if (signal.aborted) {
        this.aborted();
        return;
      }
      signal.addEventListener("abort", this.aborted);
    }
    const reply = this.mux.subject(this.token);
    try {
      this.link.nats.publish(
        subject,
        payload,
        headers ? { reply, headers: headers.asHeaders() } : { reply },
      );
    } catch (cause) {
      const { length } = payload;
      if (length > this.link.maxPayload) {
        this.fail(
          `${length} bytes on ${subject} exceed the server's max_payload of ${this.link.maxPayload}`,
          Code.ResourceExhausted,
          cause,
        );
      } else {
        this.fail(`cannot publish on ${subject}: ${String(cause)}`, Code.Unavailable, cause);
      }
      return;
    }
    if (timeoutMs > lazyTimerMs) {
      this.endsAt = performance.now() + timeoutMs;
    } else if (timeoutMs > 0) {
      this.startTimer(timeoutMs);
    }
  }

  receive(message: Msg): void {
    this.finish();
    this.resolve(message);
  }

  heard(): void {
    this.silent = 0;
  }

  tick(): void {
    if (this.endsAt > 0 && !this.timer) {
      const left = this.endsAt - performance.now();
      if (left < lazyTimerMs) {
        this.startTimer(left);
      }
    }
    if (this.request.worker && ++this.silent > silentBeats) {
      this.fail(
        `the worker of ${this.request.subject} has been silent for ${silentBeats} s: its process or its network is gone, or it blocks its event loop. The request may have run`,
        Code.Unavailable,
      );
    }
  }

  disconnected(): void {
    this.fail(
      `the connection to NATS was lost while ${this.request.subject} was under way: the request may have run`,
      Code.Unavailable,
    );
  }

  denied(cause: Error): void {
    this.fail(
      `these credentials may not publish on ${this.request.subject}: ask for the permission`,
      Code.PermissionDenied,
      cause,
    );
  }

  private readonly aborted = (): void => {
    this.finish();
    this.reject(canceled(this.request.signal));
    const { worker } = this.request;
    if (worker) {
      this.link.cancel(worker.cancelSubject, this.mux.subject(this.token));
    }
  };

  private startTimer(ms: number): void {
    const { subject, timeoutMs } = this.request;
    this.timer = setTimeout(
      () => this.fail(`no reply on ${subject} within ${timeoutMs} ms`, Code.DeadlineExceeded),
      ms,
    );
  }

  private fail(message: string, code: Code, cause?: unknown): void {
    this.finish();
    this.reject(new ConnectError(message, code, undefined, undefined, cause));
  }

  private finish(): void {
    this.mux.close(this.token);
    clearTimeout(this.timer);
    this.request.signal?.removeEventListener("abort", this.aborted);
  }
}
