import type { AttemptOutcome, ConnectError, Watch } from "@jetrpc/runtime";
import {
  type Attributes,
  type Context,
  context,
  diag,
  type Span,
  SpanStatusCode,
} from "@opentelemetry/api";
import { Attr, Own } from "./conventions.js";
import { fieldsOf } from "./log-fields.js";

/** Records the metric of what is over; returns the attributes that its span has at its end. */
export type Report = (
  seconds: number,
  own: Context,
  error: ConnectError | undefined,
  outcome: AttemptOutcome | undefined,
) => Attributes;

/** A span for what a {@link Watch} watches. */
export class SpanWatch implements Watch {
  private readonly beganAt = performance.now();
  private hasEnded = false;
  private sent = 0;
  private received = 0;

  constructor(
    private readonly span: Span,
    /** That of the span. */
    private readonly own: Context,
    private readonly messageEvents: boolean,
    private readonly report: Report,
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

  message(direction: "sent" | "received"): void {
    // What is read of a call that was given up is nothing of its span any more.
    if (this.messageEvents && !this.hasEnded) {
      this.span.addEvent("jetrpc.message", {
        [Own.messageDirection]: direction,
        [Own.messageNumber]: ++this[direction],
      });
    }
  }

  end(error?: ConnectError, outcome?: AttemptOutcome): void {
    if (this.hasEnded) {
      return;
    }
    this.hasEnded = true;
    const { span, own } = this;
    try {
      const attributes = this.report(
        (performance.now() - this.beganAt) / 1000,
        own,
        error,
        outcome,
      );
      if (span.isRecording()) {
        span.setAttributes(attributes);
        if (error && attributes[Attr.errorType] !== undefined) {
          span.setStatus({ code: SpanStatusCode.ERROR, message: error.rawMessage });
        }
      }
      span.end();
    } catch (thrown) {
      diag.error("@jetrpc/otel", thrown);
    }
  }
}
