import { type SpanContext, TraceFlags } from "@opentelemetry/api";

/** The line that an attempt leaves for the next one: its span as a W3C `traceparent`. Undefined when nobody keeps the span. */
export function toNote({ traceId, spanId, traceFlags }: SpanContext): string | undefined {
  return traceFlags & TraceFlags.SAMPLED ? `00-${traceId}-${spanId}-01` : undefined;
}

/** The span that such a line names; undefined for any other: clients may write to logs. */
export function parseNote(note: string | undefined): SpanContext | undefined {
  const [, traceId, spanId] = /^00-([\da-f]{32})-([\da-f]{16})-01$/.exec(note ?? "") ?? [];
  return traceId && spanId
    ? { traceId, spanId, traceFlags: TraceFlags.SAMPLED, isRemote: true }
    : undefined;
}
