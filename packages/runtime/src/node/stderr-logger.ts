import { attempt, isConnectError, textOf } from "../message/thrown.js";
import { codeName } from "../schema/code-name.js";
import type { LogRecord } from "../worker/logger.js";
import { textWithStack } from "../worker/thrown-text.js";

/**
 * The logger of `serve()` that is given none: warnings and errors, a line each, on stderr.
 * Lines are for people where that is a terminal, and JSON elsewhere.
 */
export function logToStderr(record: LogRecord): void {
  if (record.level === "warn" || record.level === "error") {
    printRecord(record);
  }
}

/** Prints a record, whatever its level. */
export function printRecord(record: LogRecord): void {
  // console.error() alone outlives a stderr that nobody reads any more.
  console.error(process.stderr.isTTY ? toLine(record) : toJson(record));
}

/** `12:03:59 error a call failed: greet.v1.GreetService.Letter "letter-1" attempt 5: TypeError: … (at …)` */
export function toLine({ level, message, method, callId, attempt, error }: LogRecord): string {
  const call = [
    method,
    callId !== undefined && `"${callId}"`,
    attempt !== undefined && `attempt ${attempt}`,
  ].filter((part) => part);
  const parts = [message, call.join(" "), error === undefined ? "" : shortText(error)];
  const text = parts.filter((part) => part !== "").join(": ");
  return `${new Date().toTimeString().slice(0, 8)} ${level} ${text.replace(/\s*\n\s*/g, " ")}`;
}

/** A record as one line of JSON. */
function toJson({ error, fields, ...record }: LogRecord): string {
  return JSON.stringify({
    time: new Date().toISOString(),
    ...record,
    ...fields,
    ...(error !== undefined && {
      error: {
        ...(isConnectError(error) && { code: attempt(() => codeName(error.code), undefined) }),
        message: textOf(error),
        stack: textWithStack(error),
      },
    }),
  });
}

/** The text of an error, and the place of one that is a bug. */
function shortText(error: unknown): string {
  const [first = "", ...frames] = textWithStack(error).split(/\n\s+at /);
  const place = isConnectError(error) ? undefined : frames[0];
  return place === undefined ? first : `${first} (at ${place.trim()})`;
}
