import { Code, ConnectError } from "@connectrpc/connect";
import type { Msg } from "@nats-io/nats-core";
import type { HeaderBlock } from "./header.js";
import { isNoResponders, type Link } from "./link.js";
import { isPermanent, permanent } from "./status.js";

/** JetStream's error codes that we act on. */
const ErrorCode = {
  streamNotFound: 10059,
  wrongLastSequence: 10071,
  /** The same, found while another write of the subject was being stored. */
  wrongLastSequenceRacing: 10164,
  maximumMessages: 10077,
  insufficientResources: 10023,
  storageExceeded: 10047,
  memoryExceeded: 10028,
  notEnabled: 10076,
  notEnabledForAccount: 10039,
  /** A cluster whose servers are not all there yet. */
  noSuitablePeers: 10005,
  /** Its leader is lost, and another is not chosen yet. */
  streamOffline: 10118,
  consumerOffline: 10119,
  messageTooLarge: 10054,
  headersTooLarge: 10097,
} as const;

/** How long a server may take for one answer of JetStream's API, in ms. */
const apiTimeoutMs = 5_000;

/**
 * The same for storing and reading a message, in ms. A cluster that elects a leader
 * drops what comes meanwhile: the sooner it is sent again, the sooner calls go on.
 */
const messageTimeoutMs = 2_000;

/** How long to try to reach the server, in ms. */
const patienceMs = 30_000;

/** The expected last sequence of a subject was not the last one: someone else wrote. */
export class SequenceConflict extends Error {}

/** Nothing captures the subject: its stream does not exist, or has no leader yet. */
export class NoStream extends Error {}

interface ApiError {
  readonly code: number;
  readonly err_code?: number;
  readonly description?: string;
}

/**
 * Publishes into a stream and waits for its acknowledgement; returns the
 * sequence at which the message is stored.
 *
 * Throws {@link SequenceConflict}, {@link NoStream}, or a ConnectError:
 * ResourceExhausted when the stream is full, otherwise see {@link Link.request}.
 */
export function publishStored(
  link: Link,
  subject: string,
  payload: Uint8Array,
  headers: HeaderBlock | undefined,
): Promise<number> {
  return link
    .request({ subject, payload, headers, timeoutMs: messageTimeoutMs })
    .then((reply) => readAck(reply, subject));
}

function readAck(reply: Msg, subject: string): number {
  if (isNoResponders(reply)) {
    throw new NoStream(`no stream captures ${subject}`);
  }
  const ack = parse(reply) as { seq?: number; error?: ApiError };
  if (ack.error) {
    throw toError(ack.error, subject);
  }
  if (ack.seq === undefined) {
    throw new ConnectError(`${subject} was not answered by JetStream`, Code.Internal);
  }
  return ack.seq;
}

/** How {@link publishUntilStored} goes about it. */
export interface Patience {
  /** How long it tries, in ms. */
  readonly timeoutMs: number;
  /** Called when there is no stream, to make it. */
  readonly makeStream?: () => Promise<void>;
}

/**
 * Publishes into a stream until the server confirms it: through lost
 * connections, elections of leaders, and answers that do not come. The message
 * must be one that does no harm when stored twice; `headers` is told whether it
 * is published again.
 *
 * Throws what {@link publishStored} throws, and why the last try failed when
 * time is over: Unavailable or DeadlineExceeded.
 */
export async function publishUntilStored(
  link: Link,
  subject: string,
  payload: Uint8Array,
  headers: (isRetry: boolean) => HeaderBlock | undefined,
  { timeoutMs, makeStream }: Patience,
): Promise<number> {
  const giveUpAt = Date.now() + timeoutMs;
  for (let retry = 0; ; retry++) {
    try {
      if (!link.connected) {
        await link.whenConnected(giveUpAt - Date.now());
      }
      return await publishStored(link, subject, payload, headers(retry > 0));
    } catch (error) {
      let failure = error;
      if (error instanceof NoStream && makeStream) {
        failure = await makeStream().then(
          () => undefined,
          (e: unknown) => e,
        );
      }
      if (failure === undefined) {
        continue;
      }
      if (!isTransient(failure) || link.nats.isClosed() || Date.now() >= giveUpAt) {
        throw failure;
      }
      await pause(retry);
    }
  }
}

/**
 * Does what only reads, or does no harm when done twice, until the server
 * answers: through lost connections and elections of leaders.
 *
 * Throws what `work` throws for good, and why the last try failed when time is over.
 */
export async function untilAnswered<T>(
  link: Link,
  work: () => Promise<T>,
  timeoutMs = patienceMs,
): Promise<T> {
  const giveUpAt = Date.now() + timeoutMs;
  for (let retry = 0; ; retry++) {
    try {
      await link.whenConnected(giveUpAt - Date.now());
      return await work();
    } catch (error) {
      const mayRepeat = isTransient(error) || error instanceof SequenceConflict;
      if (!mayRepeat || link.nats.isClosed() || Date.now() >= giveUpAt) {
        throw error;
      }
      await pause(retry);
    }
  }
}

/** True when a stream refused a message because it is full, or has its subject already. */
export function isFull(error: unknown): boolean {
  return (
    error instanceof ConnectError &&
    error.code === Code.ResourceExhausted &&
    // That is a message that is too large.
    !isPermanent(error)
  );
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

/** Calls JetStream's API. Returns undefined when what was asked for does not exist. */
export async function callApi<T>(link: Link, api: string, body: object): Promise<T | undefined> {
  const subject = `$JS.API.${api}`;
  const reply = await link.request({
    subject,
    payload: new TextEncoder().encode(JSON.stringify(body)),
    timeoutMs: apiTimeoutMs,
  });
  if (isNoResponders(reply)) {
    // In a cluster, a server without JetStream passes on to those with it.
    if (!link.nats.info?.jetstream) {
      throw new ConnectError(
        `JetStream is disabled on the NATS server at ${link.nats.getServer()}, and nothing durable works: enable it there (jetstream {})`,
        Code.FailedPrecondition,
      );
    }
    throw new ConnectError(
      "JetStream does not answer: are these credentials allowed to use it?",
      Code.Unavailable,
    );
  }
  const answer = parse(reply) as T & { error?: ApiError };
  if (answer.error?.code === 404) {
    return undefined;
  }
  if (answer.error) {
    throw toError(answer.error, subject);
  }
  return answer;
}

/** Reads the last message of a subject, headers and all, or undefined when there is none. */
export async function getLast(
  link: Link,
  stream: string,
  subject: string,
): Promise<Msg | undefined> {
  const reply = await link.request({
    subject: `$JS.API.DIRECT.GET.${stream}.${subject}`,
    payload: new Uint8Array(0),
    timeoutMs: messageTimeoutMs,
  });
  return found(link, stream, reply);
}

/** Reads the first message of a subject at a sequence or after it, or undefined. */
export async function getNext(
  link: Link,
  stream: string,
  subject: string,
  from: number,
): Promise<Msg | undefined> {
  const reply = await link.request({
    subject: `$JS.API.DIRECT.GET.${stream}`,
    payload: new TextEncoder().encode(JSON.stringify({ seq: from, next_by_subj: subject })),
    timeoutMs: messageTimeoutMs,
  });
  return found(link, stream, reply);
}

/** What a stream has answered. Throws Unavailable when it exists and did not answer. */
async function found(link: Link, stream: string, reply: Msg): Promise<Msg | undefined> {
  const status = reply.headers?.code ?? 0;
  if (status === 503 && !(await isAbsent(link, stream))) {
    throw new ConnectError(
      `stream ${stream} does not answer: its servers are starting, or lost`,
      Code.Unavailable,
    );
  }
  return status === 404 || status === 503 ? undefined : reply;
}

/** True when there is no such stream; false when these credentials may not look. */
async function isAbsent(link: Link, stream: string): Promise<boolean> {
  try {
    return (await callApi(link, `STREAM.INFO.${stream}`, {})) === undefined;
  } catch (error) {
    if (error instanceof ConnectError && error.code === Code.PermissionDenied) {
      return false;
    }
    throw error;
  }
}

function parse(reply: Msg): object {
  try {
    return reply.json();
  } catch (cause) {
    throw new ConnectError(
      `${reply.subject}: the server's answer is no JSON`,
      Code.Internal,
      undefined,
      undefined,
      cause,
    );
  }
}

function toError(error: ApiError, subject: string): Error {
  const text = `${subject}: ${error.description ?? "JetStream error"} (${error.err_code ?? error.code})`;
  switch (error.err_code) {
    case ErrorCode.wrongLastSequence:
    case ErrorCode.wrongLastSequenceRacing:
      return new SequenceConflict(text);
    case ErrorCode.streamNotFound:
      return new NoStream(text);
    case ErrorCode.maximumMessages:
    case ErrorCode.insufficientResources:
    case ErrorCode.storageExceeded:
    case ErrorCode.memoryExceeded:
      return new ConnectError(text, Code.ResourceExhausted);
    case ErrorCode.messageTooLarge:
    case ErrorCode.headersTooLarge:
      return permanent(new ConnectError(text, Code.ResourceExhausted));
    case ErrorCode.notEnabled:
    case ErrorCode.notEnabledForAccount:
      return new ConnectError(
        `${text}: enable JetStream on the server, for this account`,
        Code.FailedPrecondition,
      );
    case ErrorCode.noSuitablePeers:
    case ErrorCode.streamOffline:
    case ErrorCode.consumerOffline:
      return new ConnectError(text, Code.Unavailable);
    default:
      return new ConnectError(text, error.code === 503 ? Code.Unavailable : Code.Internal);
  }
}
