import { Code, ConnectError } from "@connectrpc/connect";
import { canceled, checkTimeoutMs, startTimer } from "@jetrpc/runtime/caller";

/** When a caller stops to wait. */
export interface WaitLimits {
  readonly signal?: AbortSignal | undefined;
  readonly timeoutMs?: number | undefined;
}

/** The callers that wait on a connection. */
export class Waits {
  private readonly open = new Set<Wait>();
  private closed: ConnectError | undefined;

  /** Ends all, and those to come. */
  close(reason: ConnectError): void {
    this.closed = reason;
    for (const wait of [...this.open]) {
      wait.leave(reason);
    }
  }

  /** A caller begins to wait. Throws InvalidArgument for what is no time. */
  begin(limits: WaitLimits = {}): Wait {
    const wait = new Wait(limits, () => this.open.delete(wait));
    if (this.closed) {
      wait.leave(this.closed);
    }
    this.open.add(wait);
    return wait;
  }
}

/** A caller that waits: its signal fires when it leaves, when its time is over, and when the connection is closed. */
export class Wait {
  private readonly controller = new AbortController();
  private readonly stopTimer: (() => void) | undefined;

  constructor(
    private readonly limits: WaitLimits,
    private readonly ended: () => void,
  ) {
    const { signal, timeoutMs = 0 } = limits;
    checkTimeoutMs(timeoutMs);
    if (signal?.aborted) {
      this.abort();
    }
    signal?.addEventListener("abort", this.abort);
    this.stopTimer =
      timeoutMs > 0
        ? startTimer(() => {
            const text = `the call did not end within ${timeoutMs} ms`;
            this.leave(new ConnectError(text, Code.DeadlineExceeded));
          }, timeoutMs)
        : undefined;
  }

  /** Fires with a ConnectError. */
  get signal(): AbortSignal {
    return this.controller.signal;
  }

  leave(reason: ConnectError): void {
    this.controller.abort(reason);
  }

  /** The caller waits no longer. */
  end(): void {
    this.stopTimer?.();
    this.limits.signal?.removeEventListener("abort", this.abort);
    this.ended();
  }

  private readonly abort = (): void => this.leave(canceled(this.limits.signal));
}
