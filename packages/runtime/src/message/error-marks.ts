import { Code, ConnectError } from "@connectrpc/connect";

// Of the registry: an error may be made by one copy of this module and read by another.
const isPermanentKey = Symbol.for("jetrpc.permanent");
const retryDelayKey = Symbol.for("jetrpc.retryAfter");
const notRunKey = Symbol.for("jetrpc.notRun");

type Marked = { readonly [key: symbol]: unknown };

/** Marks an error; one that cannot be changed is copied. */
function mark(error: ConnectError, key: symbol, value: unknown): ConnectError {
  const marked = Object.isExtensible(error) ? error : copy(ConnectError.from(error));
  return Object.defineProperty(marked, key, { value, configurable: true });
}

function copy(error: ConnectError): ConnectError {
  const { rawMessage, code, metadata, details } = error;
  const copied = new ConnectError(rawMessage, code, metadata, undefined, error);
  copied.details = details;
  copyMarks(error, copied);
  return copied;
}

/** Gives an error the marks of another one. Throws what reading those throws. */
export function copyMarks(from: object, to: ConnectError): void {
  for (const key of [isPermanentKey, retryDelayKey]) {
    if (key in from) {
      Object.defineProperty(to, key, { value: (from as Marked)[key], configurable: true });
    }
  }
}

/**
 * Marks an error as final: a durable call that ends with it is not attempted
 * again, whatever its code. Returns the error, or a copy of one that is frozen.
 */
export function permanent(error: ConnectError): ConnectError {
  return mark(error, isPermanentKey, true);
}

/** True when an error is marked as final. */
export function isPermanent(error: ConnectError): boolean {
  return isPermanentKey in error;
}

/** True when a further attempt of a durable call may help. */
export function isRetried(error: ConnectError, retryCodes: ReadonlySet<Code>): boolean {
  return !isPermanent(error) && (retryCodes.has(error.code) || retryDelayOf(error) !== undefined);
}

/** Longest wait before an attempt, in ms, 100 years: JetStream counts it in ns, in 64 bits. */
const longestDelayMs = 100 * 365 * 24 * 3_600_000;

/** A wait as JetStream takes it: whole ms, and not too many. Undefined for what is no time. */
export function toDelayMs(delayMs: unknown): number | undefined {
  return Number.isFinite(delayMs) && Number(delayMs) >= 0
    ? Math.min(Math.ceil(Number(delayMs)), longestDelayMs)
    : undefined;
}

/**
 * Marks an error as passing: a durable call that ends with it is attempted again
 * after so many ms, whatever its code and its method's `backoff`, as long as
 * attempts are left. Parts of a ms count as one, and more than 100 years as that.
 * Returns the error, or a copy of one that is frozen. Throws InvalidArgument for a
 * time that is negative or not finite.
 */
export function retryAfter(error: ConnectError, delayMs: number): ConnectError {
  const delay = toDelayMs(delayMs);
  if (delay === undefined) {
    throw new ConnectError(
      `retryAfter: ${String(delayMs)} ms is no delay: give a finite number of 0 or more`,
      Code.InvalidArgument,
    );
  }
  return mark(error, retryDelayKey, delay);
}

/** The wait that retryAfter() gave an error, in ms. */
export function retryDelayOf(error: ConnectError): number | undefined {
  return toDelayMs((error as unknown as Marked)[retryDelayKey]);
}

/** Marks the error of a call whose request reached no worker. */
export function neverRan(error: ConnectError): ConnectError {
  return mark(error, notRunKey, true);
}

/**
 * The same for an error that belongs to the caller, who may use it for another call as well:
 * the mark is on a copy.
 */
export function neverRanCopy(error: ConnectError): ConnectError {
  return mark(Object.assign(copy(error), error, { cause: error }), notRunKey, true);
}

/**
 * Tells whether a direct call that failed may have run. False when its request
 * surely reached no handler: no worker was there, or no connection.
 */
export function mayHaveRun(error: unknown): boolean {
  return !(error instanceof ConnectError && notRunKey in error);
}
