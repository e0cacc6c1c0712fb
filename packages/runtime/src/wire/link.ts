import { Code, ConnectError } from "@connectrpc/connect";
import { errors, type Msg, type NatsConnection } from "@nats-io/nats-core";
import { checkOwner } from "./call-id.js";
import type { HeaderBlock } from "./header.js";
import { Mux, type Reply } from "./mux.js";
import { PayloadStore } from "./payload-store.js";

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
}

/**
 * What client and worker share of one NATS connection: its reply mux, its
 * state, its payload store.
 */
export class Link {
  readonly owner: string;
  readonly payloads: PayloadStore;
  private readonly mux: Mux;
  private readonly reconnectListeners = new Set<() => void>();
  private isConnected = true;

  constructor(
    readonly nats: NatsConnection,
    readonly options: LinkOptions,
  ) {
    this.owner = checkOwner(options.owner);
    this.mux = new Mux(nats, options.inboxPrefix);
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
        this.isConnected = false;
        this.mux.disconnected();
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
    this.isConnected = false;
    this.mux.disconnected();
    this.notifyReconnected();
  }

  private notifyReconnected(): void {
    for (const listener of [...this.reconnectListeners]) {
      listener();
    }
  }
}

/** True when the server says that nobody listens on the subject of a request. */
export function isNoResponders(reply: Msg): boolean {
  return reply.data.length === 0 && reply.headers?.code === 503;
}

/** One request that waits for its reply. */
class PendingReply implements Reply {
  private readonly token: string;
  private timer: ReturnType<typeof setTimeout> | undefined;

  constructor(
    private readonly link: Link,
    private readonly mux: Mux,
    private readonly request: Request,
    private readonly resolve: (message: Msg) => void,
    private readonly reject: (error: ConnectError) => void,
  ) {
    this.token = mux.open(this);
  }

  get subject(): string {
    return this.request.subject;
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
    if (timeoutMs > 0) {
      this.timer = setTimeout(
        () => this.fail(`no reply on ${subject} within ${timeoutMs} ms`, Code.DeadlineExceeded),
        timeoutMs,
      );
    }
  }

  receive(message: Msg): void {
    this.finish();
    this.resolve(message);
  }

  disconnected(): void {
    this.fail(
      `the connection to NATS was lost while ${this.subject} was under way: the request may have run`,
      Code.Unavailable,
    );
  }

  denied(cause: Error): void {
    this.fail(
      `these credentials may not publish on ${this.subject}: ask for the permission`,
      Code.PermissionDenied,
      cause,
    );
  }

  private readonly aborted = (): void => {
    this.finish();
    const { reason } = this.request.signal as AbortSignal;
    this.reject(
      reason instanceof ConnectError
        ? reason
        : new ConnectError("the call was canceled", Code.Canceled, undefined, undefined, reason),
    );
  };

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
