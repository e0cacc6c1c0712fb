import type { Logger, LogLevel } from "@jetrpc/runtime";

/** The part of pino that is used. Other loggers have it, too. */
export type PinoLike = {
  readonly [L in LogLevel]: (fields: Record<string, unknown>, message: string) => void;
};

/**
 * A logger of workers that writes by pino: `serve(service, handlers, { logger: pinoLogger(pino()) })`.
 * A line has `method`, `call_id`, `attempt`, `err`, and `trace_id` and `span_id` of the attempt.
 */
export function pinoLogger(pino: PinoLike): Logger {
  return ({ level, message, callId, error, fields, ...rest }) => {
    pino[level](
      {
        ...rest,
        ...(callId !== undefined && { call_id: callId }),
        ...fields,
        ...(error !== undefined && { err: error }),
      },
      message,
    );
  };
}
