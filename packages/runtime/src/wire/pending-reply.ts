import { Code, ConnectError } from "@connectrpc/connect";
import type { Msg } from "@nats-io/nats-core";
import { isHeartbeat } from "./frame.js";
import { type HeaderBlock, headerSize } from "./header.js";
import type { Link } from "./link.js";
import { denial, type Reply } from "./mux.js";
import { silentBeats } from "./pulse.js";
import { neverRan, permanent } from "./status.js";

/** A request that waits for one reply. */
export interface Request {
  readonly subject: string;
  readonly payload: Uint8Array;
  readonly headers?: HeaderBlock | undefined;
  /** How long to wait for the reply, in ms; 0 for no limit. */
  readonly timeoutMs: number;
  readonly signal?: AbortSignal | undefined;
  /** Where the reply comes, see {@link Mux}. Default: where JetStream answers. */
  readonly inbox?: string;
  /**
   * Set when a worker answers: it sends heartbeats while it works, and its
   * silence means that it is gone.
   */
  readonly worker?: WorkerRequest | undefined;
}

/** What a request to a worker needs besides. */
interface WorkerRequest {
  /** Subject on which workers hear that the caller has left. */
  readonly cancelSubject: string;
}

/** The error of a call whose caller's signal fired: what it was aborted with, or Canceled. */
export function canceled(signal: AbortSignal | undefined): ConnectError {
  const reason: unknown = signal?.reason;
  return reason instanceof ConnectError
    ? reason
    : new ConnectError("the call was canceled", Code.Canceled, undefined, undefined, reason);
}

/** Timeouts above this get their timer when less is left of them, in ms: most calls never need one. */
const lazyTimerMs = 2_000;

/** One request that waits for its reply: the last thing that is called is replied() or failed(), once. */
export abstract class PendingReply implements Reply {
  readonly inbox: string;
  private readonly token: number;
  private timer: ReturnType<typeof setTimeout> | undefined;
  private endsAt = 0;
  private silent = 0;

  constructor(
    protected readonly link: Link,
    protected readonly request: Request,
  ) {
    this.inbox = request.inbox ?? link.mux.jetStream;
    this.token = link.mux.open(this);
  }

  /** Takes the reply. */
  protected abstract replied(message: Msg): void;

  /** Takes the reason for which no reply comes. */
  protected abstract failed(error: ConnectError): void;

  publishesTo(subject: string): boolean {
    return subject === this.request.subject;
  }

  send(): void {
    const { subject, payload, headers, timeoutMs, signal } = this.request;
    if (!this.link.connected) {
      this.finish();
      this.failed(neverRan(this.link.lost));
      return;
    }
    if (signal?.aborted) {
      this.finish();
      this.failed(neverRan(canceled(signal)));
      return;
    }
    this.link.flushLate();
    const reply = this.inbox + this.token;
    try {
      this.link.nats.publish(
        subject,
        payload,
        headers ? { reply, headers: headers.asHeaders() } : { reply },
      );
    } catch (cause) {
      const size = payload.length + headerSize(headers);
      const max = this.link.maxPayload;
      if (size > max) {
        const text = `${size} bytes on ${subject}, headers included, exceed the server's max_payload of ${max}`;
        this.refuse(permanent(failure(text, Code.ResourceExhausted, cause)));
      } else {
        const text = `cannot publish on ${subject}: ${String(cause)}`;
        this.refuse(failure(text, Code.Unavailable, cause));
      }
      return;
    }
    signal?.addEventListener("abort", this);
    if (timeoutMs > lazyTimerMs) {
      this.endsAt = performance.now() + timeoutMs;
    } else if (timeoutMs > 0) {
      this.startTimer(timeoutMs);
    }
  }

  receive(message: Msg): void {
    if (message.headers && isHeartbeat(message)) {
      this.heard();
      return;
    }
    this.finish();
    try {
      this.replied(message);
    } catch (error) {
      // Whoever waits must not wait for ever.
      this.failed(ConnectError.from(error, Code.Internal));
    }
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
    this.finish();
    this.failed(neverRan(denial(this.request.subject, cause)));
  }

  /** The caller's signal fired. As a listener, the object itself needs no function of its own. */
  handleEvent(): void {
    this.finish();
    this.failed(canceled(this.request.signal));
    const { worker } = this.request;
    if (worker) {
      this.link.cancel(worker.cancelSubject, this.inbox + this.token);
    }
  }

  private startTimer(ms: number): void {
    const { subject, timeoutMs } = this.request;
    this.timer = setTimeout(
      () => this.fail(`no reply on ${subject} within ${timeoutMs} ms`, Code.DeadlineExceeded),
      ms,
    );
  }

  private fail(message: string, code: Code): void {
    this.finish();
    this.failed(new ConnectError(message, code));
  }

  /** Fails what reached nobody. */
  private refuse(error: ConnectError): void {
    this.finish();
    this.failed(neverRan(error));
  }

  private finish(): void {
    this.link.mux.close(this.token);
    if (this.timer) {
      clearTimeout(this.timer);
    }
    this.request.signal?.removeEventListener("abort", this);
  }
}

function failure(message: string, code: Code, cause: unknown): ConnectError {
  return new ConnectError(message, code, undefined, undefined, cause);
}
