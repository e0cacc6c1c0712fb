import { isMalformed } from "../ledger/log.js";
import { LostClaim } from "../ledger/log-writer.js";
import type { RunningCall } from "../ledger/running.js";
import type { AttemptContext } from "./attempt-context.js";
import { type AttemptResult, type Verdict, verdictOf } from "./attempt-verdict.js";
import type { LogLevel } from "./log.js";
import type { ServedMethod } from "./served-method.js";
import { textWithStack } from "./thrown-text.js";

/** What an attempt has at its end besides its result. */
export interface AttemptRemains {
  /** Undefined when no handler was called. */
  readonly context: AttemptContext | undefined;
  /** The response header is stored: with the first message. */
  readonly isHeaderStored: boolean;
}

/** Carries out the verdict on an attempt, and logs it. */
export class AttemptReporter {
  constructor(
    private readonly served: ServedMethod,
    private readonly running: RunningCall,
  ) {}

  /** Never throws. True when the call has ended with its response. */
  async report(result: AttemptResult, remains: AttemptRemains): Promise<boolean> {
    const { method, settings } = this.served;
    const verdict = verdictOf(result, method, this.running, settings.revealErrors);
    const thrown = result.kind === "threw" ? result.thrown : undefined;
    try {
      await this.carryOut(verdict, thrown, remains);
      return verdict.kind === "succeed";
    } catch (error) {
      // The write itself has shown why the call cannot go on.
      const isNewReason = error instanceof LostClaim || isMalformed(error);
      if (verdict.kind === "succeed" || (isNewReason && error !== thrown)) {
        return await this.report({ kind: "threw", thrown: error }, remains);
      }
      // The log cannot be written: the server gives the call out again.
      this.log("error", "the result of an attempt could not be stored", error);
      return false;
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
      context?.abort(verdict.error);
    }
    switch (verdict.kind) {
      case "succeed":
        context?.flushProgress();
        await running.succeed(verdict.response);
        return;
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
    settings.log({
      level,
      message,
      method: method.desc.toString(),
      callId: this.running.call.callId,
      attempt: this.running.attempt,
      ...(error !== undefined && { error }),
    });
  }
}
