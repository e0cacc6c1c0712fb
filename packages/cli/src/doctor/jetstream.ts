import { Code, ConnectError, type Connection } from "@jetrpc/runtime";
import { apiPrefix } from "@jetrpc/runtime/schema";
import { errors } from "@nats-io/nats-core";

/** How long a server may take for an answer, in ms. */
const timeoutMs = 5_000;

/**
 * Asks JetStream; undefined when what was asked for does not exist.
 *
 * Errors: Unavailable when nobody answers, PermissionDenied, FailedPrecondition
 * for every refusal.
 */
export async function askJetStream<T>(
  { nats, domain }: Connection,
  api: string,
): Promise<T | undefined> {
  const own = (nats.info as { readonly domain?: string } | undefined)?.domain;
  const subject = `${apiPrefix(domain, own)}${api}`;
  let answer: T & { error?: { code: number; description?: string } };
  try {
    answer = (await nats.request(subject, "{}", { timeout: timeoutMs })).json();
  } catch (cause) {
    const isRefused = cause instanceof errors.RequestError;
    const isDenied = isRefused && cause.cause instanceof errors.PermissionViolationError;
    const why = isRefused && cause.isNoResponders() ? "nobody answers" : String(cause);
    throw new ConnectError(
      isDenied ? `these credentials may not publish on ${subject}` : `${subject}: ${why}`,
      isDenied ? Code.PermissionDenied : Code.Unavailable,
      undefined,
      undefined,
      cause,
    );
  }
  if (answer.error && answer.error.code !== 404) {
    throw new ConnectError(
      answer.error.description ?? `error ${answer.error.code}`,
      Code.FailedPrecondition,
    );
  }
  return answer.error ? undefined : answer;
}

/** JetStream's figures of an account. */
export interface AccountInfo extends Usage {
  readonly streams: number;
  readonly consumers: number;
  readonly limits: Limits & { readonly max_streams: number; readonly max_consumers: number };
}

interface Usage {
  readonly memory: number;
  readonly storage: number;
}

interface Limits {
  readonly max_memory: number;
  readonly max_storage: number;
}

/** JetStream's figures of a stream. */
export interface StreamState {
  /** The time of the server. */
  readonly ts: string;
  readonly config: { readonly name: string; readonly num_replicas: number };
  readonly cluster?: {
    readonly leader?: string;
    readonly replicas?: readonly {
      readonly name: string;
      readonly current: boolean;
      readonly offline?: boolean;
      readonly lag?: number;
    }[];
  };
}
