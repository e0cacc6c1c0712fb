import type { Watch } from "../link/observer.js";

/** How much a {@link LogRecord} matters. */
export type LogLevel = "debug" | "info" | "warn" | "error";

/** Something that an operator may want to know, in fields for machines. */
export interface LogRecord {
  readonly level: LogLevel;
  /** The event, in words that never vary. */
  readonly message: string;
  readonly method?: string;
  readonly callId?: string;
  readonly attempt?: number;
  readonly error?: unknown;
  /** Fields of the connection's observer: with that of `@jetrpc/otel`, `trace_id` and `span_id`. */
  readonly fields?: Readonly<Record<string, string>>;
}

/** Takes what a worker has to say. The runtime itself prints nothing. */
export type Logger = (record: LogRecord) => void;

/** A logger whose failures are nobody's: it may throw, or reject. Default: nothing is logged. */
export function guardLogger(logger: Logger | undefined): Logger {
  return (record) => {
    try {
      const logged: unknown = logger?.(record);
      if (logged instanceof Promise) {
        logged.catch(() => undefined);
      }
    } catch {
      // Calls go on, whatever becomes of what is said about them.
    }
  };
}

/** Tells a logger of what is watched, with its fields. */
export function logWatched(log: Logger, record: LogRecord, watch: Watch | undefined): void {
  if (watch) {
    const { logFields: fields } = watch;
    watch.run(() => log(fields ? { ...record, fields } : record));
  } else {
    log(record);
  }
}
