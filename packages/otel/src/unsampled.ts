import { type SpanContext, TraceFlags } from "@opentelemetry/api";

/** Of this process: hexadecimal digits, half of a trace id. */
const prefix = [0, 0].map(() => hex(Math.floor(Math.random() * 2 ** 32), 8)).join("");

let count = 0;

/**
 * The span context of a call whose trace is not kept: what its handler calls is not kept either. Its
 * ids are of no other call: they are counted, as random ones cost each call more than all else here.
 */
export function unsampledContext(): SpanContext {
  const number = hex(++count, 16);
  return { traceId: prefix + number, spanId: number, traceFlags: TraceFlags.NONE };
}

function hex(number: number, digits: number): string {
  return number.toString(16).padStart(digits, "0");
}
