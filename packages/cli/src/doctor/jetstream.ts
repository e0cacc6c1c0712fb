import { Code, ConnectError, type Connection } from "@jetrpc/runtime";
import { apiPrefix } from "@jetrpc/runtime/schema";
import type { Msg } from "@nats-io/nats-core";
import { requestError } from "../request-error.js";

/** How long a server may take for an answer, in ms. */
const patienceMs = 5_000;

/**
 * Asks JetStream; undefined when what was asked for does not exist.
 *
 * Errors: Unavailable when nobody answers or a leader is being elected, PermissionDenied,
 * FailedPrecondition for every other refusal.
 */
export async function askJetStream<T>(
  connection: Connection,
  api: string,
  body: object = {},
  timeoutMs = patienceMs,
): Promise<T | undefined> {
  const message = await requestJetStream(connection, api, body, timeoutMs);
  const answer: T & { error?: { code: number; description?: string } } = message.json();
  if (answer.error && answer.error.code !== 404) {
    const { code, description = `error ${code}` } = answer.error;
    throw new ConnectError(description, code === 503 ? Code.Unavailable : Code.FailedPrecondition);
  }
  return answer.error ? undefined : answer;
}

/** Sends a request to JetStream. Errors: Unavailable when nobody answers, PermissionDenied. */
async function requestJetStream(
  { nats, domain }: Connection,
  api: string,
  body: object,
  timeoutMs = patienceMs,
): Promise<Msg> {
  const own = (nats.info as { readonly domain?: string } | undefined)?.domain;
  const subject = `${apiPrefix(domain, own)}${api}`;
  try {
    return await nats.request(subject, JSON.stringify(body), { timeout: timeoutMs });
  } catch (cause) {
    throw requestError(subject, cause);
  }
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
