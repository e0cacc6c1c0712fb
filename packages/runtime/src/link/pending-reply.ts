import { Code, ConnectError } from "@connectrpc/connect";
import type { Msg } from "@nats-io/nats-core";
import { causedError } from "../message/caused-error.js";
import { neverRan, neverRanCopy, permanent } from "../message/error-marks.js";
import { isHeartbeat } from "../message/frame.js";
import { type HeaderBlock, headerSize } from "../message/header.js";
import { attempt, isConnectError, textOf } from "../message/thrown.js";
import type { Link } from "./link.js";
import { denial, type Reply, type Route } from "./mux.js";
import { silentBeats } from "./pulse.js";
import type { Sendable, SendWindow } from "./send-window.js";

/** A request that waits for one reply. */
export interface Request {
  readonly subject: string;
  readonly payload: Uint8Array;
  readonly headers?: HeaderBlock | undefined;
  /**
   * How long to wait for the reply, in ms; 0 for no limit. Of a worker's that counts from
   * the call, of others from when the request is sent.
   */
  readonly timeoutMs: number;
  /** When its time began, on the clock of performance.now(). Default: with the wait for the reply. */
  readonly beganAt?: number | undefined;
  readonly signal?: AbortSignal | undefined;
  /** Default: that to JetStream. */
  readonly route?: Route;
  /** Bytes that it takes of the route's window. Default: the size of the payload. */
  readonly cost?: number;
  /**
   * True for what is asked for again each second: one of several servers answers it, and that may be
   * lost before the others know (decision 0038). It has no headers.
   */
  readonly isAskedAgain?: boolean;
  /**
   * Set when a worker answers: it sends heartbeats while it works, and its
   * silence means that it is gone.
   */
  readonly worker?: WorkerRequest | undefined;
}

/** The part of a request that only a worker's needs. */
interface WorkerRequest {
  /** Subject on which workers hear that the caller has left. */
  readonly cancelSubject: string;
}

/**
 * The error of a call whose caller's signal fired: what it was aborted with where that is a
 * ConnectError, and otherwise Canceled, with the text of the reason.
 */
export function canceled(
  signal: AbortSignal | undefined,
  text = "the call was canceled",
): ConnectError {
  const reason: unknown = signal?.reason;
  if (isConnectError(reason)) {
    return reason;
  }
  // One that was given none has an AbortError of the platform, which says no more.
  const name = attempt(() => (reason as Error).name, undefined);
  const isGiven = signal?.aborted && name !== "AbortError";
  return causedError(isGiven ? `${text}: ${textOf(reason)}` : text, Code.Canceled, reason);
}

/** A request that is younger than this is not asked for again, in ms: its reply may well be on its way. */
const freshMs = 200;

/** Timeouts above this get their timer when less is left of them, in ms: most calls never need one. */
const lazyTimerMs = 2_000;

/** One request that waits for its reply: the last thing that is called is replied() or failed(), once. */
export abstract class PendingReply implements Reply, Sendable {
  readonly inbox: string;
  private readonly window: SendWindow;
  private readonly token: number;
  private timer: ReturnType<typeof setTimeout> | undefined;
  private endsAt = 0;
  private silent = 0;
  /** For its window alone. */
  taken = 0;
  private isSent = false;
  private isDone = false;

  constructor(
    protected readonly link: Link,
    protected readonly request: Request,
  ) {
    const { inbox, window } = request.route ?? link.mux.jetStream;
    this.inbox = inbox;
    this.window = window;
    this.token = link.mux.open(this);
  }

  /** Takes the reply. */
  protected abstract replied(message: Msg): void;

  /** Takes the reason for which no reply comes. */
  protected abstract failed(error: ConnectError): void;

  publishesTo(subject: string): boolean {
    return subject === this.request.subject;
  }

  /** Sends the request, once what is under way leaves room for it. */
  send(): void {
    const { signal, worker } = this.request;
    if (!this.link.connected) {
      this.refuse(this.link.lost);
      return;
    }
    if (signal?.aborted) {
      this.end(neverRanCopy(canceled(signal)));
      return;
    }
    signal?.addEventListener("abort", this);
    if (worker) {
      this.limitTime();
    }
    this.window.enter(this);
  }

  /** Sends it, now that there is room for it. */
  sendNow(): void {
    if (this.isDone) {
      return;
    }
    const { subject, payload, headers, worker, cost = payload.length } = this.request;
    if (!this.link.connected) {
      this.refuse(this.link.lost);
      return;
    }
    this.link.flushLate();
    const reply = this.inbox + this.token;
    try {
      this.link.ask(subject, payload, reply, headers);
    } catch (cause) {
      const size = payload.length + headerSize(headers);
      const max = this.link.maxPayload;
      if (size > max) {
        const text = `${size} bytes on ${subject}, headers included, exceed the server's max_payload of ${max}`;
        this.refuse(permanent(causedError(text, Code.ResourceExhausted, cause)));
      } else {
        const text = `cannot publish on ${subject}: ${String(cause)}`;
        this.refuse(causedError(text, Code.Unavailable, cause));
      }
      return;
    }
    this.isSent = true;
    this.window.take(this, cost);
    if (!worker) {
      this.limitTime();
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
      // The caller must not wait for ever.
      this.failed(ConnectError.from(error, Code.Internal));
    }
  }

  /** Its worker has it: it waits in no server any more. */
  heard(): void {
    this.silent = 0;
    this.window.free(this);
  }

  tick(): void {
    if (this.endsAt > 0 && !this.timer) {
      const left = this.leftMs;
      if (left < lazyTimerMs) {
        this.startTimer(left);
      }
    }
    const { subject, payload, timeoutMs, isAskedAgain } = this.request;
    if (isAskedAgain && this.isSent && timeoutMs - this.leftMs > freshMs) {
      this.link.publish(subject, payload, { reply: this.inbox + this.token });
    }
    if (this.request.worker && this.isSent && ++this.silent > silentBeats) {
      this.fail(
        `the worker of ${this.request.subject} has been silent for ${silentBeats} s: its process or its network is gone, or it blocks its event loop. The request may have run`,
        Code.Unavailable,
      );
    }
  }

  disconnected(): void {
    if (!this.isSent) {
      this.refuse(this.link.lost);
      return;
    }
    this.fail(
      `the connection to NATS was lost while ${this.request.subject} was under way: the request may have run`,
      Code.Unavailable,
    );
  }

  denied(cause: Error): void {
    this.refuse(denial(this.request.subject, cause));
  }

  /** The caller's signal fired. As a listener, the object itself needs no function of its own. */
  handleEvent(): void {
    this.end(canceled(this.request.signal));
    if (this.isSent) {
      this.leaveWorker();
    }
  }

  /** Tells the worker that nobody waits for it any more. */
  protected leaveWorker(): void {
    const { worker } = this.request;
    if (worker) {
      this.link.cancel(worker.cancelSubject, this.inbox + this.token);
    }
  }

  /** How much of its time is left, in ms; without meaning where there is no limit. */
  protected get leftMs(): number {
    return this.endsAt - performance.now();
  }

  private limitTime(): void {
    const { timeoutMs, beganAt } = this.request;
    if (timeoutMs > 0) {
      this.endsAt = (beganAt ?? performance.now()) + timeoutMs;
      // An upload before may have left little of it.
      if (timeoutMs <= lazyTimerMs || (beganAt !== undefined && this.leftMs <= lazyTimerMs)) {
        this.startTimer(this.leftMs);
      }
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
    const error = new ConnectError(message, code);
    this.end(this.isSent ? error : neverRan(error));
  }

  /** Fails what reached nobody. */
  private refuse(error: ConnectError): void {
    this.end(neverRan(error));
  }

  private end(error: ConnectError): void {
    // The end of a request gives room to others, and they may end this one.
    if (!this.isDone) {
      this.finish();
      this.failed(error);
    }
  }

  private finish(): void {
    this.isDone = true;
    this.link.mux.close(this.token);
    if (this.timer) {
      clearTimeout(this.timer);
    }
    this.request.signal?.removeEventListener("abort", this);
    this.window.free(this);
  }
}
