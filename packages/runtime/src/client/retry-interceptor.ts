import { MethodOptions_IdempotencyLevel as Idempotency } from "@bufbuild/protobuf/wkt";
import { Code, ConnectError, type Interceptor } from "@connectrpc/connect";
import { canceled } from "../link/pending-reply.js";
import { mayHaveRun } from "../message/error-marks.js";
import { bindMethod } from "../schema/binding.js";

/** Options of {@link createRetryInterceptor}. */
export interface RetryOptions {
  /** How often a call is attempted in all. Default: 3. */
  maxAttempts?: number | undefined;
  /**
   * Wait before the second attempt, in ms; twice as long before each further one,
   * and varied at random by up to 20 %. Default: 100.
   */
  backoffMs?: number | undefined;
}

/**
 * Repeats direct unary calls that end with Unavailable: those of methods whose
 * `idempotency_level` is NO_SIDE_EFFECTS or IDEMPOTENT, and any others only when
 * their request surely reached no handler, see {@link mayHaveRun}. The deadline of
 * a call holds for all its attempts. Streams and durable calls are left alone:
 * those retry on the server's side.
 *
 * Put it before interceptors that each attempt should pass.
 */
export function createRetryInterceptor(options: RetryOptions = {}): Interceptor {
  const { maxAttempts = 3, backoffMs = 100 } = options;
  return (next) => async (request) => {
    if (request.stream || bindMethod(request.method).delivery !== "direct") {
      return next(request);
    }
    const isRepeatable =
      request.method.idempotency === Idempotency.NO_SIDE_EFFECTS ||
      request.method.idempotency === Idempotency.IDEMPOTENT;
    for (let attempt = 1; ; attempt++) {
      try {
        return await next(request);
      } catch (error) {
        const { code } = ConnectError.from(error);
        if (
          code !== Code.Unavailable ||
          attempt >= maxAttempts ||
          (mayHaveRun(error) && !isRepeatable)
        ) {
          throw error;
        }
        const wait = backoffMs * 2 ** (attempt - 1) * (0.8 + 0.4 * Math.random());
        await pause(wait, request.signal);
      }
    }
  };
}

function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const stop = () => {
      clearTimeout(timer);
      reject(canceled(signal));
    };
    const timer = setTimeout(() => {
      signal.removeEventListener("abort", stop);
      resolve();
    }, ms);
    if (signal.aborted) {
      stop();
    } else {
      signal.addEventListener("abort", stop, { once: true });
    }
  });
}
