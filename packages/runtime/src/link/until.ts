import { Code, ConnectError } from "@connectrpc/connect";
import { NoStream, SequenceConflict } from "./jetstream-error.js";
import type { Link } from "./link.js";

/** How long to try to reach the server, in ms. */
const patienceMs = 30_000;

/** How {@link until} goes about it. */
export interface Persistence {
  /** How long it tries, in ms. Default: 30 s. */
  readonly timeoutMs?: number | undefined;
  /** Called before each try. An error of it ends all tries. */
  readonly check?: (() => void) | undefined;
  /** Makes the stream that is missing. Default: a missing stream is waited for. */
  readonly makeStream?: (() => Promise<unknown>) | undefined;
}

/**
 * Does something until the server answers: through lost connections, elections of leaders,
 * lost answers, and writes that another one came before. It must do no harm when it is done
 * twice. `work` is told how often it has failed before.
 *
 * Throws what `work` throws for good; why the last try failed, when time is over; and why
 * the stream that is missing cannot be made.
 */
export async function until<T>(
  link: Link,
  work: (retry: number) => Promise<T>,
  { timeoutMs = patienceMs, check, makeStream }: Persistence = {},
): Promise<T> {
  const giveUpAt = Date.now() + timeoutMs;
  for (let retry = 0; ; retry++) {
    check?.();
    try {
      if (!link.connected) {
        await link.whenConnected(giveUpAt - Date.now());
        check?.();
      }
      return await work(retry);
    } catch (thrown) {
      const isMade = thrown instanceof NoStream && makeStream !== undefined;
      const error = isMade ? await failureOf(makeStream, thrown) : thrown;
      if (!mayRepeat(error) || link.nats.isClosed() || Date.now() >= giveUpAt) {
        throw error;
      }
      // The first call of a service does not wait when its stream is made.
      if (retry > 0 || !isMade || error !== thrown) {
        await pause(retry);
      }
    }
  }
}

async function failureOf(work: () => Promise<unknown>, otherwise: unknown): Promise<unknown> {
  try {
    await work();
    return otherwise;
  } catch (error) {
    return error;
  }
}

/** True when the same request may succeed a moment later, or a look tells why it was refused. */
export function mayRepeat(error: unknown): boolean {
  return error instanceof SequenceConflict || isTransient(error);
}

/** True when the same request may succeed a moment later. */
export function isTransient(error: unknown): boolean {
  return (
    error instanceof NoStream ||
    (error instanceof ConnectError &&
      (error.code === Code.Unavailable || error.code === Code.DeadlineExceeded))
  );
}

/** Waits before a further try, longer each time. */
export function pause(retry: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, Math.min(50 * 2 ** retry, 1_000)));
}
