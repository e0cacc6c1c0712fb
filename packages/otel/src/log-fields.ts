import { type Context, context, createContextKey } from "@opentelemetry/api";
import { spanIn } from "./context-of-span.js";

/** Key of the id of the durable call that a context belongs to. */
const callIdKey = createContextKey("jetrpc.callId");

/** A context that knows its call. */
export function withCallId(of: Context, callId: string): Context {
  return of.setValue(callIdKey, callId);
}

/** The same context, which knows of no call. */
export function withoutCallId(of: Context): Context {
  return of.deleteValue(callIdKey);
}

/**
 * `trace_id`, `span_id` and `trace_flags` of the span that is active here, and `call_id` in a
 * handler of a durable call; nothing where no span is active. For the logs of handlers:
 * `pino({ mixin: logFields })`.
 */
export function logFields(): Record<string, string> {
  // pino gives a mixin arguments of its own, which are no context.
  return fieldsOf(context.active());
}

/** The same for a context. */
export function fieldsOf(of: Context): Record<string, string> {
  const span = spanIn(of);
  const callId = of.getValue(callIdKey);
  return {
    ...(span && {
      trace_id: span.traceId,
      span_id: span.spanId,
      trace_flags: `0${span.traceFlags.toString(16)}`.slice(-2),
    }),
    ...(typeof callId === "string" && { call_id: callId }),
  };
}
