import { type SpanContext, TraceFlags } from "@opentelemetry/api";

/** Two hexadecimal digits for each byte: `toString(16)` of large numbers costs six times as much. */
const digits = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, "0"));

/**
 * The span context of a call whose trace is not kept: what its handler calls is not kept either. Its
 * ids are random in all parts, as samplers of other services that look at nothing else decide by
 * them. They are made when somebody asks, which few do: they cost more than the rest.
 */
export class UnsampledContext implements SpanContext {
  readonly traceFlags = TraceFlags.NONE;
  private made: { readonly traceId: string; readonly spanId: string } | undefined;

  get traceId(): string {
    return this.ids.traceId;
  }

  get spanId(): string {
    return this.ids.spanId;
  }

  private get ids() {
    if (!this.made) {
      // All zeros would be no id.
      const spanId = word(random()) + word(random() | 1);
      this.made = { traceId: word(random()) + word(random()) + spanId, spanId };
    }
    return this.made;
  }
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
