import { type SpanContext, TraceFlags } from "@opentelemetry/api";

/** The line that an attempt leaves for the next one: its span, which is kept, as a W3C `traceparent`. */
export function toNote({ traceId, spanId }: SpanContext): string {
  return `00-${traceId}-${spanId}-01`;
}

/** The span that such a line names; undefined for any other: clients may write to logs. */
export function parseNote(note: string | undefined): SpanContext | undefined {
  const [, traceId, spanId] = /^00-([\da-f]{32})-([\da-f]{16})-01$/.exec(note ?? "") ?? [];
  return traceId && spanId
    ? { traceId, spanId, traceFlags: TraceFlags.SAMPLED, isRemote: true }
    : undefined;
}
