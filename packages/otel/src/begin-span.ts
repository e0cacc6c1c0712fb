import {
  type Context,
  type Span,
  type SpanContext,
  type SpanOptions,
  TraceFlags,
  type Tracer,
  trace,
} from "@opentelemetry/api";
import { spanIn } from "./context-of-span.js";
import { guarded } from "./guarded.js";
import { UnsampledSpan } from "./unsampled.js";

/** Who begins spans, and which. */
export interface Beginning {
  readonly tracer: Tracer;
  /** Share of the calls outside of a trace that begin one; undefined where the SDK's sampler decides. */
  readonly newTraces: number | undefined;
}

/**
 * Begins a span: one that nobody sees where its trace is not kept, and the SDK need not be asked, or
 * where its sampler or a processor throws.
 * `given` is the span of the trace that it is in; undefined outside of one.
 */
export function beginSpan(
  { tracer, newTraces }: Beginning,
  name: string,
  options: SpanOptions,
  parent: Context,
  given: SpanContext | undefined,
): Span {
  const isUnkept =
    newTraces !== undefined && (given ? !hasFlag(given) : Math.random() >= newTraces);
  const begun = isUnkept ? undefined : guarded(() => tracer.startSpan(name, options, parent));
  if (begun) {
    return begun;
  }
  // Where the SDK throws, what is below hangs at the span above.
  const above = given ?? (isUnkept ? undefined : spanIn(parent));
  return above ? trace.wrapSpanContext(above) : new UnsampledSpan();
}

/** True when the trace of a span is kept. */
export function isSampled(span: Span): boolean {
  return !(span instanceof UnsampledSpan) && hasFlag(span.spanContext());
}

function hasFlag({ traceFlags }: SpanContext): boolean {
  return (traceFlags & TraceFlags.SAMPLED) !== 0;
}
