import type { RequestHeaders } from "@jetrpc/runtime";
import type { TextMapGetter, TextMapSetter } from "@opentelemetry/api";

/** What a propagator has written, if anything. */
export interface Carrier {
  metadata: Record<string, string> | undefined;
}

/** Of a propagator that writes. */
export const setter: TextMapSetter<Carrier> = {
  set(carrier, name, value) {
    // A line break would end the header.
    if (!/[\r\n]/.test(value)) {
      carrier.metadata ??= {};
      carrier.metadata[name.toLowerCase()] = value;
    }
  },
};

/** The header of the trace context, by the W3C. */
export const traceparent = "traceparent";

/** The trace context of the caller's, where metadata goes on with the same trace. */
export function continued(
  headers: Headers | undefined,
  metadata: Record<string, string> | undefined,
): string | undefined {
  const given = headers?.get(traceparent);
  return given && metadata?.[traceparent]?.slice(3, 35) === given.slice(3, 35) ? given : undefined;
}

/** Of a propagator that reads what a caller gave. */
export const givenGetter: TextMapGetter<Headers> = {
  keys: (headers) => [...headers.keys()],
  get: (headers, name) => headers.get(name) ?? undefined,
};

/** Of a propagator that reads the headers of a request. */
export const requestGetter: TextMapGetter<RequestHeaders> = {
  keys: (headers) => headers.keys(),
  get(headers, name) {
    const value = headers.get(name);
    if (value) {
      return value;
    }
    // Other clients may spell it in another way.
    for (const key of headers.keys()) {
      if (key.length === name.length && key.toLowerCase() === name) {
        return headers.get(key);
      }
    }
    return undefined;
  },
};
