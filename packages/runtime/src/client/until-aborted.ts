import type { ConnectError } from "@connectrpc/connect";
import { canceled } from "../link/pending-reply.js";
import { checkSignal, startTimer } from "../link/timer.js";

/** The time that is left for work. */
export interface Deadline {
  /** In ms; Infinity is no limit. */
  readonly leftMs: number;
  /** The error when it is over. */
  readonly error: () => ConnectError;
}

/**
 * Waits for work that cannot be interrupted, until a signal fires or the time is over: then
 * the work goes on, and the wait ends with the error of the deadline, with Canceled, or with
 * the error that the signal was aborted with. Does not start the work when the signal has
 * fired before.
 */
export function untilAborted<T>(
  signal: AbortSignal | undefined,
  start: () => Promise<T>,
  deadline?: Deadline,
): Promise<T> {
  if (signal === undefined && !deadline) {
    return start();
  }
  checkSignal(signal);
  return new Promise((resolve, reject) => {
    const abort = () => giveUp(canceled(signal));
    if (signal?.aborted) {
      reject(canceled(signal));
      return;
    }
    const stopTimer =
      deadline && startTimer(() => giveUp(deadline.error()), Math.max(0, deadline.leftMs));
    const release = () => {
      stopTimer?.();
      signal?.removeEventListener("abort", abort);
    };
    const giveUp = (error: ConnectError) => {
      release();
      reject(error);
    };
    signal?.addEventListener("abort", abort);
    start().finally(release).then(resolve, reject);
  });
}
