import { canceled } from "../link/pending-reply.js";

/**
 * Waits for something that cannot be interrupted, until a signal fires: then it goes
 * on, and the wait ends with Canceled, or what the signal was aborted with.
 */
export function untilAborted<T>(
  signal: AbortSignal | undefined,
  start: () => Promise<T>,
): Promise<T> {
  if (!signal) {
    return start();
  }
  return new Promise((resolve, reject) => {
    const abort = () => reject(canceled(signal));
    if (signal.aborted) {
      abort();
      return;
    }
    signal.addEventListener("abort", abort, { once: true });
    const release = () => signal.removeEventListener("abort", abort);
    start().then(
      (value) => {
        release();
        resolve(value);
      },
      (error) => {
        release();
        reject(error);
      },
    );
  });
}
