import type { AttemptOutcome, ConnectError, Watch } from "@jetrpc/runtime";
import {
  type Attributes,
  type Context,
  context,
  type Span,
  SpanStatusCode,
} from "@opentelemetry/api";
import { type Beginning, beginSpan, isSampled } from "./begin-span.js";
import { withSpan } from "./context-of-span.js";
import { Attr, Own } from "./conventions.js";
import { guarded } from "./guarded.js";
import { fieldsOf, withoutCallId } from "./log-fields.js";
import { errorType, isFailure } from "./status-code.js";

/** What all spans of a kind have in common: those of one method, or one of a single call. */
export interface SpanKindOf {
  readonly rpcMethod: string;
  /** Records the metric of what is over; returns the attributes that its span has at its end. Must not throw. */
  report(
    seconds: number,
    own: Context,
    error: ConnectError | undefined,
    outcome: AttemptOutcome | undefined,
  ): Attributes;
}

/** What all spans of a connection have in common. */
export interface SpanParts extends Beginning {
  readonly messageEvents: boolean;
}

/** A span for what a {@link Watch} watches. */
export class SpanWatch implements Watch {
  private readonly beganAt = performance.now();
  private hasEnded = false;
  private sent = 0;
  private received = 0;

  constructor(
    private readonly span: Span,
    /** That of the span. */
    readonly own: Context,
    private readonly parts: SpanParts,
    private readonly of: SpanKindOf,
    readonly metadata?: Record<string, string> | undefined,
    readonly continues?: string | undefined,
    readonly note?: string | undefined,
  ) {}

  get logFields(): Record<string, string> {
    const { call_id: _, ...fields } = fieldsOf(this.own);
    return fields;
  }

  run<T>(step: () => T): T {
    return context.with(this.own, step);
  }

  /**
   * A batch belongs to all of its calls, and has one parent: the first whose trace is kept, so that
   * it is seen there. The others have a link to it, and it has one to each of them.
   */
  batch(watches: readonly Watch[]): Watch | undefined {
    return guarded(() => {
      const calls = watches.filter((each): each is SpanWatch => each instanceof SpanWatch);
      const main = calls.find((call) => isSampled(call.span)) ?? this;
      const others = calls.filter((call) => call !== main);
      const { rpcMethod } = main.of;
      const options = {
        attributes: { [Attr.rpcMethod]: rpcMethod, [Own.batchCalls]: calls.length },
        links: others.map((call) => linkTo(call.span, "call")),
      };
      const given = main.span.spanContext();
      const span = beginSpan(main.parts, `batch ${rpcMethod}`, options, main.own, given);
      const parent = others.length > 0 ? withoutCallId(main.own) : main.own;
      const watch = new SpanWatch(span, withSpan(parent, span), main.parts, batchOf(rpcMethod));
      for (const call of others) {
        call.linkToBatch(span);
      }
      return watch;
    });
  }

  /** The span of the batch has begun: whatever becomes of the link, it has to end. */
  private linkToBatch(batch: Span): void {
    guarded(() => this.span.addLink(linkTo(batch, "batch")));
  }

  message(direction: "sent" | "received"): void {
    // What is read of a call that was given up is nothing of its span any more.
    if (this.parts.messageEvents && !this.hasEnded) {
      const number = ++this[direction];
      guarded(() =>
        this.span.addEvent("jetrpc.message", {
          [Own.messageDirection]: direction,
          [Own.messageNumber]: number,
        }),
      );
    }
  }

  end(error?: ConnectError, outcome?: AttemptOutcome): void {
    if (this.hasEnded) {
      return;
    }
    this.hasEnded = true;
    const { span, own } = this;
    const seconds = (performance.now() - this.beganAt) / 1000;
    const attributes = this.of.report(seconds, own, error, outcome);
    guarded(() => {
      if (span.isRecording()) {
        span.setAttributes(attributes);
        if (error && attributes[Attr.errorType] !== undefined) {
          span.setStatus({ code: SpanStatusCode.ERROR, message: error.rawMessage });
        }
      }
    });
    // Whatever became of all else: one that does not end is told to nobody.
    guarded(() => span.end());
  }
}

function linkTo(span: Span, kind: "call" | "batch") {
  return { context: span.spanContext(), attributes: { [Own.link]: kind } };
}

/** A batch has no metric: its calls have theirs. */
function batchOf(rpcMethod: string): SpanKindOf {
  return { rpcMethod, report: (_seconds, _own, error) => errorType(error, isFailure) };
}
