import type { ConnectError } from "@connectrpc/connect";
import { isMalformed } from "../ledger/log.js";
import { LostClaim } from "../ledger/lost-claim.js";
import type { ResponseEntry, RunningCall } from "../ledger/running.js";
import type { AttemptOutcome, Watch } from "../link/observer.js";
import { toConnectError } from "../message/thrown.js";
import type { AttemptContext } from "./attempt-context.js";
import { type Verdict, verdictOf } from "./attempt-verdict.js";
import { type LogLevel, logWatched } from "./logger.js";
import type { ServedMethod } from "./served-method.js";
import { textWithStack } from "./thrown-text.js";

/** The state of an attempt at its end, besides its result. */
export interface AttemptRemains {
  /** Undefined when no handler was called. */
  readonly context: AttemptContext | undefined;
  /** The response header is stored: with the first message. */
  readonly isHeaderStored: boolean;
}

/** Carries out the verdict on an attempt, and logs it. */
export class AttemptReporter {
  watch: Watch | undefined;

  constructor(
    private readonly served: ServedMethod,
    private readonly running: RunningCall,
  ) {}

  /** Ends the call with its response. Never throws. False when that was not possible. */
  async succeed(response: ResponseEntry, remains: AttemptRemains): Promise<boolean> {
    try {
      remains.context?.flushProgress();
      await this.running.succeed(response);
      this.watch?.end(undefined, "succeeded");
      return true;
    } catch (error) {
      await this.fail(error, remains);
      return false;
    }
  }

  /** Does what follows from the reason for which there is no response. Never throws. */
  async fail(thrown: unknown, remains: AttemptRemains): Promise<void> {
    const { method, settings } = this.served;
    const verdict = verdictOf(thrown, method, this.running, settings.revealErrors);
    try {
      await this.carryOut(verdict, thrown, remains);
      this.watch?.end(errorOf(verdict), outcomeOf(verdict));
    } catch (error) {
      // The write itself may have shown why the call cannot go on.
      if (error !== thrown && (error instanceof LostClaim || isMalformed(error))) {
        await this.fail(error, remains);
        return;
      }
      // The log cannot be written: the server gives the call out again.
      this.log("error", "the result of an attempt could not be stored", error);
      this.watch?.end(toConnectError(error), "lost");
    }
  }

  private async carryOut(
    verdict: Verdict,
    thrown: unknown,
    { context, isHeaderStored }: AttemptRemains,
  ): Promise<void> {
    const { running } = this;
    const { stats } = this.served;
    if ("error" in verdict) {
      // As in Connect, with what the handler threw.
      context?.abort(verdict.kind === "expire" ? verdict.error : thrown);
    }
    switch (verdict.kind) {
      case "retry":
        stats.failed(verdict.error);
        await running.retry(verdict.error, verdict.delayMs);
        this.log("warn", "an attempt failed and will be repeated", thrown);
        return;
      case "fail": {
        stats.failed(verdict.error);
        context?.flushProgress();
        const told = context?.withTrailer(verdict.error) ?? verdict.error;
        const header = isHeaderStored ? undefined : context?.leadingMetadata;
        await running.fail(told, header, verdict.isBug ? this.causeOf(thrown) : undefined);
        this.log(verdict.isBug || verdict.isRetryable ? "error" : "warn", "a call failed", thrown);
        return;
      }
      case "expire":
        context?.flushProgress();
        await running.expire();
        this.log("info", "a call expired");
        return;
      case "release":
        await running.release();
        this.log("info", "a call was given back");
        return;
      case "yield":
        await this.yieldTo(verdict.lost, context);
        return;
      case "bury":
        await running.bury(verdict.error);
        this.log("error", "a call was ended whose log cannot be read", verdict.error);
        return;
      case "recall":
        await running.recall();
        this.log("error", "an attempt is made anew", verdict.error);
    }
  }

  /** For the operator only: the caller is not told the text of a bug. */
  private causeOf(thrown: unknown) {
    return {
      text: textWithStack(thrown),
      onLost: (error: unknown) =>
        this.log("warn", "the text of what was thrown could not be stored", error),
    };
  }

  private async yieldTo(lost: LostClaim, context: AttemptContext | undefined): Promise<void> {
    const { outcome } = lost;
    context?.abort(lost.toConnectError());
    if (outcome !== "cancelled" && outcome !== "expired") {
      this.log("warn", "an attempt lost its claim", lost);
    } else if (context) {
      this.log("info", outcome === "expired" ? "a call expired" : "a call was canceled");
    }
    if (outcome) {
      await this.running.finish(outcome);
    }
  }

  log(level: LogLevel, message: string, error?: unknown): void {
    const { method, settings } = this.served;
    const record = {
      level,
      message,
      method: method.desc.toString(),
      callId: this.running.call.callId,
      attempt: this.running.attempt,
      ...(error !== undefined && { error }),
    };
    logWatched(settings.log, record, this.watch);
  }
}

/** How an attempt has ended. */
function outcomeOf(verdict: Verdict): AttemptOutcome {
  switch (verdict.kind) {
    case "expire":
      return "expired";
    case "fail":
    case "bury":
      return "failed";
    case "recall":
      return "release";
    case "yield": {
      const { outcome } = verdict.lost;
      return outcome === "cancelled" || outcome === "expired" ? outcome : "lost";
    }
    default:
      return verdict.kind;
  }
}

function errorOf(verdict: Verdict): ConnectError | undefined {
  if (verdict.kind === "yield") {
    return verdict.lost.toConnectError();
  }
  return "error" in verdict ? toConnectError(verdict.error) : undefined;
}
