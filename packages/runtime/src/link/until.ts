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
export function until<T>(
  link: Link,
  work: (retry: number) => Promise<T>,
  persistence: Persistence = {},
): Promise<T> {
  if (!link.connected) {
    return repeat(link, work, persistence, Date.now());
  }
  try {
    persistence.check?.();
  } catch (error) {
    return Promise.reject(error);
  }
  const beganAt = Date.now();
  try {
    // Most work is done at the first try: that costs one promise besides its own.
    return work(0).catch((error) => repeat(link, work, persistence, beganAt, { error }));
  } catch (error) {
    return repeat(link, work, persistence, beganAt, { error });
  }
}

/** Goes on after the first try has failed, or when there could be none. */
async function repeat<T>(
  link: Link,
  work: (retry: number) => Promise<T>,
  { timeoutMs = patienceMs, check, makeStream }: Persistence,
  beganAt: number,
  failed?: { readonly error: unknown },
): Promise<T> {
  const giveUpAt = beganAt + timeoutMs;
  for (let retry = 0, last = failed; ; ) {
    if (last) {
      const makes = last.error instanceof NoStream && makeStream !== undefined;
      const error = makes ? await failureOf(makeStream, last.error) : last.error;
      // The first call of a service goes on at once when its stream is made, however long that took.
      const isMade = makes && retry === 0 && error === last.error;
      if (!mayRepeat(error) || link.nats.isClosed() || (!isMade && Date.now() >= giveUpAt)) {
        throw error;
      }
      if (!isMade) {
        await pause(retry);
      }
      retry++;
    }
    check?.();
    try {
      if (!link.connected) {
        await link.whenConnected(giveUpAt - Date.now());
        check?.();
      }
      return await work(retry);
    } catch (error) {
      last = { error };
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
