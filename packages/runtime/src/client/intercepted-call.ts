import type { DescMethod } from "@bufbuild/protobuf";
import type { ConnectError, ContextValues } from "@connectrpc/connect";
import { canceled } from "../link/pending-reply.js";
import { startTimer } from "../link/timer.js";
import { toConnectError } from "../message/thrown.js";
import { type CallArguments, outOfTime } from "./direct-request.js";

/** The arguments that a Connect client gives a transport. */
export interface TransportArguments {
  readonly signal: AbortSignal | undefined;
  readonly timeoutMs: number | undefined;
  readonly header: Headers | undefined;
  readonly contextValues: ContextValues | undefined;
  readonly watch?: CallArguments["watch"];
}

/**
 * How much later than the transport the signal ends a call that is out of time, in ms: the
 * transport of a durable call also stores that end.
 */
const laterMs = 20;

/** A call around which interceptors run. */
export class InterceptedCall {
  /** When its time is over, on the clock of performance.now(). */
  private readonly endsAt: number | undefined;
  private controller: AbortController | undefined;
  private stopTimer: (() => void) | undefined;
  private hasEnded = false;

  constructor(
    readonly desc: DescMethod,
    private readonly given: TransportArguments,
  ) {
    const { timeoutMs = 0 } = given;
    this.endsAt = timeoutMs > 0 ? performance.now() + timeoutMs : undefined;
  }

  /**
   * As in Connect it fires with the caller's, when the time is over, and at the end. It is made
   * when an interceptor asks for it: that costs 3 us.
   */
  get signal(): AbortSignal {
    if (!this.controller) {
      this.controller = new AbortController();
      const { signal } = this.given;
      if (this.hasEnded || signal?.aborted) {
        this.abort(signal?.reason);
      } else {
        signal?.addEventListener("abort", this.onAbort);
        if (this.endsAt !== undefined) {
          const left = this.endsAt - performance.now() + laterMs;
          this.stopTimer = startTimer(
            () => this.abort(outOfTime(this, this.given.timeoutMs)),
            left,
          );
        }
      }
    }
    return this.controller.signal;
  }

  /**
   * The arguments as interceptors left them, with the time that they and earlier attempts left;
   * `given` is a signal of theirs. Throws DeadlineExceeded when no time is left.
   */
  argumentsOf(header: Headers, given: AbortSignal | undefined): CallArguments {
    let { timeoutMs } = this.given;
    if (this.endsAt !== undefined) {
      timeoutMs = Math.ceil(this.endsAt - performance.now());
      if (timeoutMs <= 0) {
        throw outOfTime(this, this.given.timeoutMs);
      }
    }
    // The transport ends the call by itself when its time is over.
    const { signal, watch } = this.given;
    const isOwn = !given || given === this.controller?.signal;
    return { header, timeoutMs, signal: isOwn ? signal : given, watch };
  }

  /** The call has ended. */
  end(reason?: unknown): void {
    this.hasEnded = true;
    this.abort(reason);
  }

  /** The call has failed. Returns its error as callers see it: a ConnectError, as in Connect. */
  fail(thrown: unknown): ConnectError {
    const signal = this.controller?.signal;
    let error = toConnectError(thrown);
    // What was thrown is no ConnectError: the reason of the signal says more.
    if (signal?.aborted && error !== thrown) {
      error = canceled(signal);
    }
    this.end(error);
    return error;
  }

  /** The messages of its response, which end it. */
  async *untilEnd<T>(messages: AsyncIterable<T>): AsyncGenerator<T> {
    try {
      yield* messages;
    } catch (thrown) {
      throw this.fail(thrown);
    } finally {
      this.end();
    }
  }

  private readonly onAbort = (): void => this.abort(this.given.signal?.reason);

  private abort(reason: unknown): void {
    this.stopTimer?.();
    this.given.signal?.removeEventListener("abort", this.onAbort);
    this.controller?.abort(reason);
  }
}
