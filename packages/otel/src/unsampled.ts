import { type Span, type SpanContext, TraceFlags } from "@opentelemetry/api";

/** Two hexadecimal digits for each byte: `toString(16)` of large numbers costs six times as much. */
const digits = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, "0"));

/**
 * The span of a call that is in no trace and begins none that is kept: what its handler calls is not kept
 * either. Its ids are made when somebody asks for its context, which few do: they cost more than the rest.
 * The context itself is a plain object, as loggers and propagators copy it by `{ ...spanContext }`.
 */
export class UnsampledSpan implements Span {
  private made: SpanContext | undefined;

  spanContext(): SpanContext {
    this.made ??= makeContext();
    return this.made;
  }

  isRecording(): boolean {
    return false;
  }

  setAttribute(): this {
    return this;
  }

  setAttributes(): this {
    return this;
  }

  addEvent(): this {
    return this;
  }

  addLink(): this {
    return this;
  }

  addLinks(): this {
    return this;
  }

  setStatus(): this {
    return this;
  }

  updateName(): this {
    return this;
  }

  recordException(): void {}

  end(): void {}
}

/** Ids that are random in all parts: samplers of other services look at nothing else. */
function makeContext(): SpanContext {
  // All zeros would be no id.
  const spanId = word(random()) + word(random() | 1);
  const traceId = word(random()) + word(random()) + spanId;
  return { traceId, spanId, traceFlags: TraceFlags.NONE };
}

/** 32 random bits. */
function random(): number {
  return Math.floor(Math.random() * 2 ** 32) | 0;
}

function word(bits: number): string {
  return (
    (digits[bits >>> 24] as string) +
    digits[(bits >>> 16) & 255] +
    digits[(bits >>> 8) & 255] +
    digits[bits & 255]
  );
}
