import {
  type Context,
  INVALID_SPAN_CONTEXT,
  ROOT_CONTEXT,
  type Span,
  type SpanContext,
  trace,
} from "@opentelemetry/api";

/** The key under which the API keeps the span of a context. */
const spanKey = findSpanKey();

/**
 * A context with a span. Those of the API copy a Map and make three functions each, which
 * every call would pay twice.
 */
class ContextOfSpan implements Context {
  constructor(
    readonly rest: Context,
    private readonly span: unknown,
  ) {}

  getValue(key: symbol): unknown {
    return key === spanKey ? this.span : this.rest.getValue(key);
  }

  setValue(key: symbol, value: unknown): Context {
    // Contexts that an app makes of it are the API's own: no chain of them grows.
    return key === spanKey
      ? new ContextOfSpan(this.rest, value)
      : this.rest.setValue(spanKey, this.span).setValue(key, value);
  }

  deleteValue(key: symbol): Context {
    return key === spanKey
      ? this.rest.deleteValue(key)
      : this.rest.setValue(spanKey, this.span).deleteValue(key);
  }
}

/** The same context with a span. */
export function withSpan(of: Context, span: Span): Context {
  return new ContextOfSpan(of instanceof ContextOfSpan ? of.rest : of, span);
}

/** The span that a context is in; undefined for none, and for one of an API without an SDK. */
export function spanIn(of: Context): SpanContext | undefined {
  const span = trace.getSpanContext(of);
  return span && trace.isSpanContextValid(span) ? span : undefined;
}

/** No span, and nothing else: propagators make their context of it. */
export const emptyContext: Context = new ContextOfSpan(ROOT_CONTEXT, undefined);

function findSpanKey(): symbol {
  let found: symbol | undefined;
  const probe: Context = {
    getValue: () => undefined,
    setValue(key) {
      found = key;
      return probe;
    },
    deleteValue: () => probe,
  };
  trace.setSpan(probe, trace.wrapSpanContext(INVALID_SPAN_CONTEXT));
  return found as symbol;
}
