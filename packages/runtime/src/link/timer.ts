import { Code, ConnectError } from "@connectrpc/connect";

/** Throws InvalidArgument for what is no time in ms; undefined and 0 or less are none. */
export function checkTimeoutMs(timeoutMs: number | undefined, name = "timeoutMs"): void {
  if (timeoutMs !== undefined && (typeof timeoutMs !== "number" || Number.isNaN(timeoutMs))) {
    const text = `${name} is ${String(timeoutMs)}, and must be a number of ms`;
    throw new ConnectError(text, Code.InvalidArgument);
  }
}

/** Throws InvalidArgument for what is no signal: an AbortController, say. */
export function checkSignal(signal: AbortSignal | undefined): void {
  if (signal !== undefined && typeof signal?.addEventListener !== "function") {
    const text = "signal is no AbortSignal: give the signal of the AbortController";
    throw new ConnectError(text, Code.InvalidArgument);
  }
}

/** The longest time that setTimeout takes, in ms: 24.8 days. It takes more for 1 ms. */
const longestMs = 2 ** 31 - 1;

/**
 * Calls back after any time in ms; Infinity is never. Like setTimeout() it keeps the
 * process alive meanwhile. Returns what stops it.
 */
export function startTimer(callback: () => void, ms: number): () => void {
  let left = ms;
  let timer: ReturnType<typeof setTimeout>;
  const step = () => {
    const next = Math.min(left, longestMs);
    left -= next;
    timer = setTimeout(left > 0 ? step : callback, next);
  };
  step();
  return () => clearTimeout(timer);
}
