import { Code, ConnectError } from "@connectrpc/connect";
import type { Msg } from "@nats-io/nats-core";
import type { MethodBinding } from "../schema/binding.js";
import { type DurableHandlerContext, LazyHandlerContext, type ProgressReport } from "./context.js";

/** Shortest time between two reports of progress, in ms. */
const progressIntervalMs = 250;

/** The attempt that a context is of. */
export interface Attempt {
  readonly callId: string;
  /** Its number, from 1. */
  readonly number: number;
  /** Sends a report of progress. */
  publishProgress(report: CheckedReport): void;
  /** The time of the attempt is over. */
  expire(): void;
}

/** The context that the handler of one attempt of a durable call is given. */
export class AttemptContext extends LazyHandlerContext implements DurableHandlerContext {
  private pending: CheckedReport | undefined;
  private progressTimer: ReturnType<typeof setTimeout> | undefined;
  private reportedAt = 0;
  private hasEnded = false;

  constructor(
    method: MethodBinding,
    request: Msg,
    limitMs: number,
    isCallers: boolean,
    private readonly owner: Attempt,
    readonly resumeFrom: number,
  ) {
    super(method, request, limitMs, isCallers);
  }

  get callId(): string {
    return this.owner.callId;
  }

  get attempt(): number {
    return this.owner.number;
  }

  /** Sends the first report at once and then at most one in each interval. A handler may take it out of its context. */
  readonly progress = (report: ProgressReport): void => {
    const pending = checkReport(report);
    if (this.hasEnded) {
      return;
    }
    this.pending = pending;
    const wait = this.reportedAt + progressIntervalMs - Date.now();
    if (wait <= 0) {
      this.flushProgress();
    } else {
      this.progressTimer ??= setTimeout(() => this.flushProgress(), wait);
    }
  };

  flushProgress(): void {
    clearTimeout(this.progressTimer);
    this.progressTimer = undefined;
    if (this.pending) {
      this.owner.publishProgress(this.pending);
      this.pending = undefined;
      this.reportedAt = Date.now();
    }
  }

  protected override expire(): void {
    // The attempt ends now: whatever its handler makes of the signal comes too late.
    this.owner.expire();
  }

  finish(): void {
    this.hasEnded = true;
    clearTimeout(this.progressTimer);
    this.pending = undefined;
    this.abort();
  }
}

/** A report without gaps. */
export type CheckedReport = {
  readonly [P in keyof ProgressReport]-?: NonNullable<ProgressReport[P]>;
};

/** A copy that can be sent later, whatever becomes of the report. Throws InvalidArgument. */
function checkReport(report: ProgressReport): CheckedReport {
  const { done, total = 0, message = "" }: ProgressReport = Object(report);
  for (const [name, value, type] of [
    ["done", done, "number"],
    ["total", total, "number"],
    ["message", message, "string"],
  ]) {
    if (typeof value !== type) {
      const text = `progress: ${name} is a ${typeof value}, and must be a ${type}`;
      throw new ConnectError(text, Code.InvalidArgument);
    }
  }
  return { done, total, message };
}
