import { Code, ConnectError } from "@connectrpc/connect";
import type { CallFollower } from "../ledger/following.js";
import { canceled } from "../link/pending-reply.js";
import { checkSignal, checkTimeoutMs, startTimer } from "../link/timer.js";
import type { WaitOptions } from "./call.js";

/** Ends a follower's wait by signal or time. Returns a function that stops listening. */
export function limitWait(
  follower: CallFollower,
  options: WaitOptions = {},
  onTimeout?: (error: ConnectError) => void,
): () => void {
  const { signal, timeoutMs } = options;
  if (signal === undefined && timeoutMs === undefined) {
    return () => follower.close();
  }
  checkTimeoutMs(timeoutMs);
  checkSignal(signal);
  const abort = () =>
    follower.stop(canceled(signal, "the wait was canceled, and the call goes on"));
  if (signal?.aborted) {
    abort();
  }
  signal?.addEventListener("abort", abort);
  const stopTimer =
    timeoutMs !== undefined && timeoutMs > 0
      ? startTimer(() => {
          const text = `the call did not end within ${timeoutMs} ms`;
          const error = new ConnectError(text, Code.DeadlineExceeded);
          follower.stop(error);
          onTimeout?.(error);
        }, timeoutMs)
      : undefined;
  return () => {
    stopTimer?.();
    signal?.removeEventListener("abort", abort);
    follower.close();
  };
}

/** Ends a wait whose reader has left; nobody sees it. */
export const left = new ConnectError("the reader has left", Code.Canceled);
