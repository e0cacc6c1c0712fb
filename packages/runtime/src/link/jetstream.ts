import { Code, ConnectError } from "@connectrpc/connect";
import type { Msg, MsgHdrs } from "@nats-io/nats-core";
import { causedError } from "../message/caused-error.js";
import { Header, type HeaderBlock, wholeNumber } from "../message/header.js";
import { isPermanent } from "../message/status.js";
import { otherDomain } from "./domain.js";
import { type ApiError, NoStream, SequenceConflict, toError } from "./jetstream-error.js";
import { isNoResponders, type Link } from "./link.js";

export { NoStream, SequenceConflict } from "./jetstream-error.js";

/** How long a server may take for one answer of JetStream's API, in ms. */
const apiTimeoutMs = 5_000;

/**
 * The same for storing and reading a message, in ms. A cluster that elects a leader
 * drops what comes meanwhile: the sooner it is sent again, the sooner calls go on.
 */
const messageTimeoutMs = 2_000;

/** How long to try to reach the server, in ms. */
const patienceMs = 30_000;

/**
 * Publishes into a stream and waits for its acknowledgement; returns the
 * sequence at which the message is stored.
 *
 * Throws {@link SequenceConflict}, {@link NoStream}, or a ConnectError:
 * ResourceExhausted when the stream or the account is full, InvalidArgument for what
 * never fits, otherwise see {@link Link.request}.
 */
export function publishStored(
  link: Link,
  subject: string,
  payload: Uint8Array,
  headers: HeaderBlock | undefined,
): Promise<number> {
  return link
    .request({ subject, payload, headers, timeoutMs: messageTimeoutMs })
    .then((reply) => readAck(link, reply, subject));
}

function readAck(link: Link, reply: Msg, subject: string): number {
  if (isNoResponders(reply)) {
    throw new NoStream(`no stream captures ${subject}`);
  }
  const ack = parse(reply) as { seq?: unknown; domain?: unknown; error?: ApiError };
  if (ack.error) {
    throw toError(ack.error, subject);
  }
  if (!Number.isSafeInteger(ack.seq)) {
    throw new ConnectError(`${subject} was not answered by JetStream`, Code.Internal);
  }
  if (ack.domain !== undefined && link.domain !== undefined && ack.domain !== link.domain) {
    throw otherDomain(subject, String(ack.domain), link.domain);
  }
  return ack.seq as number;
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

/** True when a message can never be stored, however often it is sent: it is too large, or wrong. */
export function neverFits(error: unknown): boolean {
  return (
    error instanceof ConnectError &&
    (error.code === Code.InvalidArgument ||
      (error.code === Code.ResourceExhausted && isPermanent(error)))
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
  const subject = link.api + api;
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

/** Least and first size that a message of a stream is taken for, in bytes. */
const leastCost = 16 * 1024;
const firstCost = 256 * 1024;

/** What the next message is taken for: as the largest ones before it, and less each time. */
const costs = new WeakMap<Link, number>();

/** Reads one message: as many at once as may come without being too much. */
async function readOne(link: Link, subject: string, payload = new Uint8Array(0)): Promise<Msg> {
  const { mux, reads } = link;
  const cost = costs.get(link) ?? firstCost;
  const route = { inbox: mux.jetStream.inbox, window: reads };
  const reply = await link.request({ subject, payload, timeoutMs: messageTimeoutMs, route, cost });
  const last = costs.get(link) ?? firstCost;
  costs.set(link, Math.max(leastCost, Math.floor(last * 0.9), reply.data.length));
  return reply;
}

/** Reads the last message of a subject, headers and all, or undefined when there is none. */
export async function getLast(
  link: Link,
  stream: string,
  subject: string,
): Promise<Msg | undefined> {
  const reply = await readOne(link, `${link.api}DIRECT.GET.${stream}.${subject}`);
  return found(link, stream, reply);
}

/** Reads the first message of a subject at a sequence or after it, or undefined. */
export async function getNext(
  link: Link,
  stream: string,
  subject: string,
  from: number,
): Promise<Msg | undefined> {
  const asked = new TextEncoder().encode(JSON.stringify({ seq: from, next_by_subj: subject }));
  const reply = await readOne(link, `${link.api}DIRECT.GET.${stream}`, asked);
  return found(link, stream, reply);
}

/** Headers that a server adds to a stored message when it gives it out. */
const added = [Header.subject, Header.sequence, Header.timestamp];

/**
 * What a stream has answered. Throws Unavailable when it exists and did not answer, and
 * DataLoss for what is no stored message.
 */
async function found(link: Link, stream: string, reply: Msg): Promise<Msg | undefined> {
  const { headers } = reply;
  if (headers?.has(Header.sequence)) {
    // Whoever stored it may have written such headers too: the server's are the last.
    for (const name of added) {
      headers.set(name, headers.last(name));
    }
    checkStored(stream, headers);
    return reply;
  }
  const status = headers?.code;
  if (status === 503 && !(await isAbsent(link, stream))) {
    throw new ConnectError(
      `stream ${stream} does not answer: its servers are starting, or lost`,
      Code.Unavailable,
    );
  }
  if (status === 404 || status === 503) {
    return undefined;
  }
  throw new ConnectError(
    `stream ${stream} answers with ${status ?? "no status"}: ${headers?.description ?? ""}`,
    status === 408 ? Code.Unavailable : Code.Internal,
  );
}

function checkStored(stream: string, headers: MsgHdrs): void {
  const isStored =
    wholeNumber(headers.get(Header.sequence)) && Date.parse(headers.get(Header.timestamp)) > 0;
  if (!isStored) {
    throw new ConnectError(
      `stream ${stream} answers with a message that has no sequence or no time`,
      Code.DataLoss,
    );
  }
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
  let answer: unknown;
  let cause: unknown;
  try {
    answer = reply.json();
  } catch (error) {
    cause = error;
  }
  if (typeof answer !== "object" || answer === null) {
    const text = `${reply.subject}: the server's answer is no JSON object`;
    throw causedError(text, Code.Internal, cause);
  }
  return answer;
}
