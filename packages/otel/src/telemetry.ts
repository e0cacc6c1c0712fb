import { Code, ConnectError, type CreateObserver } from "@jetrpc/runtime";
import {
  type MeterProvider,
  metrics,
  propagation,
  type TextMapPropagator,
  type TracerProvider,
  trace,
} from "@opentelemetry/api";
import { ConnectionObserver } from "./connection-observer.js";
import { Instruments } from "./instruments.js";
import { scope } from "./scope.js";

/** Options of {@link telemetry}. */
export interface TelemetryOptions {
  /**
   * Where the span of an attempt hangs: `"child"` of the span of its submission, in the same
   * trace; `"link"` in a trace of its own, for calls that are repeated for days. A link to the
   * submission it has in both. Default: `"child"`.
   */
  attempts?: "child" | "link" | undefined;
  /**
   * Share of the calls outside of a trace that begin one, from 0 to 1. All others, and those within a
   * trace that is not kept, have no span; metrics count them. It costs less than a sampler of the SDK's
   * that decides the same. Give 0 to workers whose callers have telemetry: a direct call that begins no
   * trace has no `traceparent`, so a worker with another share would decide again. Default: the SDK's
   * sampler is asked for each call.
   */
  newTraces?: number | undefined;
  /** Adds an event to a span for each message of a stream. Default: false. */
  messageEvents?: boolean | undefined;
  /** Default: the global one. */
  tracerProvider?: TracerProvider | undefined;
  /** Default: the global one, as it is when the connection is made. */
  meterProvider?: MeterProvider | undefined;
  /** Writes and reads `traceparent`. Default: the global one. */
  propagator?: TextMapPropagator | undefined;
}

/**
 * Traces and metrics of all that clients and workers do on a connection: an observer for
 * `connect()`, `createConnection()` and `serve()`. Set the SDK up before you connect.
 *
 * Throws InvalidArgument for a `newTraces` that is no number from 0 to 1, and for `attempts` that are
 * neither.
 */
export function telemetry(options: TelemetryOptions = {}): CreateObserver {
  const { attempts = "child", messageEvents = false, newTraces } = options;
  if (newTraces !== undefined && !isShare(newTraces)) {
    throw impossible(`newTraces is ${format(newTraces)}, and must be a number from 0 to 1`);
  }
  if (attempts !== "child" && attempts !== "link") {
    throw impossible(`attempts is ${format(attempts)}, and must be "child" or "link"`);
  }
  return (nats) => {
    const tracers = options.tracerProvider ?? trace;
    return new ConnectionObserver(nats, {
      tracer: tracers.getTracer(scope.name, scope.version),
      instruments: Instruments.of(options.meterProvider ?? metrics.getMeterProvider()),
      propagator: options.propagator ?? propagation,
      isLinked: attempts === "link",
      newTraces,
      messageEvents,
    });
  };
}

function isShare(value: unknown): boolean {
  return typeof value === "number" && value >= 0 && value <= 1;
}

/** In plain JavaScript an option may be anything, as may text of a variable of the environment. */
function format(value: unknown): string {
  return typeof value === "string" ? JSON.stringify(value) : String(value);
}

function impossible(text: string): ConnectError {
  return new ConnectError(text, Code.InvalidArgument);
}
