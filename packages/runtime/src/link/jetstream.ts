import { Code, ConnectError } from "@connectrpc/connect";
import type { Msg, MsgHdrs } from "@nats-io/nats-core";
import { causedError } from "../message/caused-error.js";
import { Header, type HeaderBlock, wholeNumber } from "../message/header.js";
import { otherDomain } from "./domain.js";
import { type ApiError, NoStream, SequenceConflict, toError } from "./jetstream-error.js";
import { isNoResponders, type Link } from "./link.js";
import { PendingReply, type Request } from "./pending-reply.js";
import { sendRequest } from "./request.js";
import { createSecret } from "./secret.js";
import { StoredMessage } from "./stored-message.js";

/** How long a server may take for one answer of JetStream's API, in ms. */
const apiTimeoutMs = 5_000;

/**
 * The same for storing and reading a message, in ms. A cluster that elects a leader
 * drops what comes meanwhile: the sooner it is sent again, the sooner calls go on.
 */
const messageTimeoutMs = 2_000;

/**
 * Publishes into a stream and waits for its acknowledgement; returns the
 * sequence at which the message is stored.
 *
 * Throws {@link SequenceConflict}, {@link NoStream}, or a ConnectError:
 * ResourceExhausted when the stream or the account is full, InvalidArgument for what
 * never fits, otherwise see {@link sendRequest}.
 */
export function publishStored(
  link: Link,
  subject: string,
  payload: Uint8Array,
  headers: HeaderBlock | undefined,
): Promise<number> {
  const request = { subject, payload, headers, timeoutMs: messageTimeoutMs };
  return new Promise((resolve, reject) => {
    new StoreReply(link, request, resolve, reject).send();
  });
}

/** Takes the acknowledgement of a message that is to be stored: each call has two of them. */
class StoreReply extends PendingReply {
  constructor(
    link: Link,
    request: Request,
    private readonly resolve: (sequence: number) => void,
    private readonly reject: (error: unknown) => void,
  ) {
    super(link, request);
  }

  protected replied(message: Msg): void {
    const sequence = plainAck(message.data);
    if (sequence > 0) {
      this.resolve(sequence);
      return;
    }
    try {
      this.resolve(readAck(this.link, message, this.request.subject));
    } catch (error) {
      this.reject(error);
    }
  }

  protected failed(error: ConnectError): void {
    this.reject(error);
  }
}

const ackStart = new TextEncoder().encode('{"stream":"');
const ackSequence = new TextEncoder().encode(',"seq":');

/**
 * The sequence in `{"stream":"…","seq":123}`, the acknowledgement of a server without a
 * domain; 0 for all others, which are read as JSON: a domain stands before the sequence.
 */
function plainAck(bytes: Uint8Array): number {
  let at = bytes.length - 2;
  let sequence = 0;
  for (let unit = 1; at > 0 && unit < 1e15; at--, unit *= 10) {
    const digit = (bytes[at] as number) - 48;
    if (digit < 0 || digit > 9) {
      break;
    }
    sequence += digit * unit;
  }
  const isPlain =
    bytes[bytes.length - 1] === 0x7d &&
    matches(bytes, at + 1 - ackSequence.length, ackSequence) &&
    matches(bytes, 0, ackStart) &&
    bytes.indexOf(0x22, ackStart.length) === at - ackSequence.length;
  return isPlain ? sequence : 0;
}

function matches(bytes: Uint8Array, from: number, expected: Uint8Array): boolean {
  for (let i = 0; i < expected.length; i++) {
    if (bytes[from + i] !== expected[i]) {
      return false;
    }
  }
  return true;
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

/** A message that is to be stored. */
export interface Storable {
  readonly payload: Uint8Array;
  /** Made for this try alone: the fence is added to them. */
  readonly headers: HeaderBlock;
}

/**
 * Stores messages one after the other, provided that the last message of their subject is the
 * expected one; 0 stands for an empty subject. Returns the sequence of the last one. Several
 * are one atomic batch (ADR-50): all or none, unless the server is killed meanwhile; then it
 * may keep a part.
 *
 * Throws what {@link publishStored} throws: SequenceConflict when another one was faster.
 */
export function publishFenced(
  link: Link,
  subject: string,
  expected: number,
  messages: readonly Storable[],
): Promise<number> {
  const [first] = messages;
  if (!first) {
    return Promise.resolve(expected);
  }
  first.headers.add(Header.expectedLastSubjectSequence, expected);
  return messages.length === 1
    ? publishStored(link, subject, first.payload, first.headers)
    : publishBatch(link, subject, messages);
}

function publishBatch(link: Link, subject: string, messages: readonly Storable[]): Promise<number> {
  const batchId = createSecret();
  const last = messages.length - 1;
  for (const [index, { payload, headers }] of messages.entries()) {
    headers.add(Header.batchId, batchId).add(Header.batchSequence, index + 1);
    if (index < last) {
      link.nats.publish(subject, payload, { headers: headers.asHeaders() });
    }
  }
  const { payload, headers } = messages[last] as Storable;
  return publishStored(link, subject, payload, headers.add(Header.batchCommit, 1));
}

/** Calls JetStream's API. Returns undefined when what was asked for does not exist. */
export async function callApi<T>(link: Link, api: string, body: object): Promise<T | undefined> {
  const subject = link.api + api;
  const askedAt = Date.now();
  const reply = await sendRequest(link, {
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
  const answer = parse(reply) as T & { error?: ApiError; ts?: string };
  if (answer.ts) {
    link.clock.learn(Date.parse(answer.ts), askedAt);
  }
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

/** The assumed size of the next message: that of the largest ones before it, and less each time. */
const costs = new WeakMap<Link, number>();

/**
 * Reads one message: as many at once as may come without being too much. Of those who have copies
 * any one answers, also one that is lost: so each is asked for again after a second.
 */
async function readOne(link: Link, subject: string, payload = new Uint8Array(0)): Promise<Msg> {
  const { mux, reads } = link;
  const cost = costs.get(link) ?? firstCost;
  const route = { inbox: mux.jetStream.inbox, window: reads };
  const reply = await sendRequest(link, {
    subject,
    payload,
    timeoutMs: messageTimeoutMs,
    route,
    cost,
    isAskedAgain: true,
  });
  const last = costs.get(link) ?? firstCost;
  costs.set(link, Math.max(leastCost, Math.floor(last * 0.9), reply.data.length));
  return reply;
}

/** Reads the last message of a subject, or undefined when there is none. */
export async function getLast(
  link: Link,
  stream: string,
  subject: string,
): Promise<StoredMessage | undefined> {
  const reply = await readOne(link, `${link.api}DIRECT.GET.${stream}.${subject}`);
  return found(link, stream, reply);
}

/** Reads the first message of a subject at a sequence or after it, or undefined. */
export async function getNext(
  link: Link,
  stream: string,
  subject: string,
  from: number,
): Promise<StoredMessage | undefined> {
  const asked = new TextEncoder().encode(JSON.stringify({ seq: from, next_by_subj: subject }));
  const reply = await readOne(link, `${link.api}DIRECT.GET.${stream}`, asked);
  return found(link, stream, reply);
}

/**
 * The message that a stream has answered with; undefined where it has none. Throws Unavailable when it exists and did not answer, and
 * DataLoss for what is no stored message.
 */
export async function found(
  link: Link,
  stream: string,
  reply: Msg,
): Promise<StoredMessage | undefined> {
  const { headers } = reply;
  if (headers?.has(Header.sequence)) {
    return storedMessage(stream, reply, headers);
  }
  const status = headers?.code;
  if (status === 503 && !(await isAbsent(link, stream))) {
    throw new ConnectError(
      `stream ${stream} does not answer: its servers are starting, or lost`,
      Code.Unavailable,
    );
  }
  // 204 is the end of a batch.
  if (status === 404 || status === 503 || status === 204) {
    return undefined;
  }
  throw new ConnectError(
    `stream ${stream} answers with ${status ?? "no status"}: ${headers?.description ?? ""}`,
    status === 408 ? Code.Unavailable : status === 413 ? Code.ResourceExhausted : Code.Internal,
  );
}

function storedMessage(stream: string, message: Msg, headers: MsgHdrs): StoredMessage {
  // A writer may have sent such headers too: the server's are the last.
  const sequence = wholeNumber(headers.last(Header.sequence));
  const storedAtMs = Date.parse(headers.last(Header.timestamp));
  if (!sequence || !(storedAtMs > 0)) {
    throw new ConnectError(
      `stream ${stream} answers with a message that has no sequence or no time`,
      Code.DataLoss,
    );
  }
  return new StoredMessage(message, headers.last(Header.subject), sequence, storedAtMs);
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
