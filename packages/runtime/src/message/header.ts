import type { DescService } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";
import type { MsgHdrs } from "@nats-io/nats-core";
import { headerName, type MetadataPart } from "./metadata.js";

/** The URL of a method, as interceptors and handlers see it. */
export function methodUrl(service: DescService, method: string): string {
  return `nats:///${service.typeName}/${method}`;
}

/**
 * Names of the NATS headers that jetrpc writes and reads. All other headers
 * are metadata of the call. docs/protocol.md is the specification.
 */
export const Header = {
  /** Kind of a call-log entry and the number of its attempt. */
  entry: "Jetrpc-Entry",
  /** Time the caller leaves for the call, in ms. */
  timeout: "Jetrpc-Timeout-Ms",
  /** Kind of a control frame of a stream, and its number. */
  frame: "Jetrpc-Frame",
  /** Kind of the method in the schema of who wrote it, where it streams. */
  kind: "Jetrpc-Kind",
  /** Asks a caller to say that it has read what a worker has sent it: how many bytes that is. */
  ack: "Jetrpc-Ack",
  /** Object that holds the payload, when it is too large for one NATS message, its size and digest. */
  payload: "Jetrpc-Payload",
  /** The name that tells the objects of a request from those of another submission of its call, or those of one attempt from another's, and their number. */
  objects: "Jetrpc-Objects",
  /** On a chunk of an object: how many chunks and bytes are stored with it. */
  chunk: "Jetrpc-Chunk",
  /** On the last chunk of an upload, which is empty: the digest of all its bytes. */
  uploaded: "Jetrpc-Uploaded",
  /** Wait before the next attempt, in ms. */
  delay: "Jetrpc-Delay-Ms",
  /** Set on a request whose call id may have been used before: `1`, or {@link putAgain}. */
  replay: "Jetrpc-Replay",
  /** When the server accepted the call, in ms since 1970. */
  accepted: "Jetrpc-Accepted",
  /** A line that an attempt leaves for the worker that makes the next one. */
  note: "Jetrpc-Note",
  /** The worker that made an attempt. */
  worker: "Jetrpc-Worker",
  /** The digest that tells two requests of one call id apart. */
  digest: "Jetrpc-Digest",
  /** How many attempts a dead letter had. */
  attempts: "Jetrpc-Attempts",
  /** The google.rpc.Status of a dead letter, in base64. */
  status: "Jetrpc-Status",
  /** Sequence of the dead letter that a queued request was replayed from. */
  letter: "Jetrpc-Dead-Letter",
  /** How the call ends whose request is withdrawn, on what took its place. */
  withdrawn: "Jetrpc-Withdrawn",
  contentType: "Content-Type",
  // Of NATS micro (ADR-32).
  errorCode: "Nats-Service-Error-Code",
  error: "Nats-Service-Error",
  // Of JetStream.
  expectedLastSubjectSequence: "Nats-Expected-Last-Subject-Sequence",
  expectedStream: "Nats-Expected-Stream",
  rollup: "Nats-Rollup",
  ttl: "Nats-TTL",
  schedule: "Nats-Schedule",
  scheduleTarget: "Nats-Schedule-Target",
  scheduler: "Nats-Scheduler",
  timestamp: "Nats-Time-Stamp",
  subject: "Nats-Subject",
  batchId: "Nats-Batch-Id",
  batchSequence: "Nats-Batch-Sequence",
  batchCommit: "Nats-Batch-Commit",
  sequence: "Nats-Sequence",
  lastSequence: "Nats-Last-Sequence",
  pending: "Nats-Num-Pending",
} as const;

/** Value of {@link Header.replay} of a request that may be running although its log is empty. */
export const putAgain = "2";

/**
 * Largest header block that JetStream takes, in bytes. It refuses a larger one for good,
 * whatever the server's max_payload is.
 */
export const maxHeaderBytes = 64 * 1024 - 1;

const encoder = new TextEncoder();

const firstLine = "NATS/1.0\r\n";

/**
 * A NATS header block that is written as text, line by line. The client's own
 * MsgHdrs costs three times as much, and publish() needs no more than encode().
 */
export class HeaderBlock {
  private text = firstLine;
  /** What the text was when it was encoded last: its size is asked for before it is sent. */
  private encoded: { readonly text: string; readonly bytes: Uint8Array } | undefined;

  /** Adds a line. Neither name nor value may hold a line break. */
  add(name: string, value: string | number): this {
    this.text += `${name}: ${value}\r\n`;
    return this;
  }

  /**
   * Adds the time that the caller leaves, in ms: 0 or less for no limit, Infinity as a
   * number that all languages have.
   */
  addTimeout(ms: number): this {
    return this.add(Header.timeout, Math.max(0, Math.min(Math.ceil(ms), Number.MAX_SAFE_INTEGER)));
  }

  /** Adds metadata: `Headers` refuses names and values that could break a line. */
  addMetadata(metadata: Headers, part: MetadataPart): this {
    metadata.forEach((value, name) => {
      const key = headerName(name, part);
      if (key !== undefined) {
        this.add(key, value);
      }
    });
    return this;
  }

  /** Adds the lines of another block. */
  append(block: HeaderBlock | undefined): this {
    if (block) {
      this.text += block.text.slice(firstLine.length);
    }
    return this;
  }

  /** True when nothing was added. */
  get isEmpty(): boolean {
    return this.text === firstLine;
  }

  /** How many characters it has: its size, but for characters that take two bytes. */
  get length(): number {
    return this.text.length;
  }

  encode(): Uint8Array {
    if (this.encoded?.text !== this.text) {
      this.encoded = { text: this.text, bytes: encodeText(`${this.text}\r\n`) };
    }
    return this.encoded.bytes;
  }

  /** The same for publish(), which calls encode() and nothing else. */
  asHeaders(): MsgHdrs {
    return this as unknown as MsgHdrs;
  }
}

/** Bytes that are given out part by part: an array of more than 64 bytes of its own costs more than to fill it. */
let pool = new Uint8Array(0);
let poolUsed = 0;

function encodeText(text: string): Uint8Array {
  const { length } = text;
  if (pool.length - poolUsed < length) {
    pool = new Uint8Array(Math.max(length, 8 * 1024));
    poolUsed = 0;
  }
  const start = poolUsed;
  // Nearly all are ASCII, and short: several times as fast as the encoder.
  for (let index = 0; index < length; index++) {
    const code = text.charCodeAt(index);
    if (code > 127) {
      return encoder.encode(text);
    }
    pool[start + index] = code;
  }
  poolUsed += length;
  return pool.subarray(start, poolUsed);
}

/** Size in bytes of an encoded header block; 0 when there is none. */
export function headerSize(block: HeaderBlock | undefined): number {
  return block ? block.encode().length : 0;
}

/** Size in bytes of the lines of a header block. */
export function linesSize(block: HeaderBlock): number {
  return headerSize(block) - firstLine.length - 2;
}

/**
 * A whole number of 0 or more that came in as text; undefined for everything else. One
 * that is too large for a number is the largest that is exact.
 */
export function wholeNumber(text: string | undefined): number | undefined {
  return text !== undefined && /^\d{1,20}$/.test(text)
    ? Math.min(Number(text), Number.MAX_SAFE_INTEGER)
    : undefined;
}

/** Latest time that a Date can hold, in ms since 1970. */
const latestMs = 8.64e15;

/** The Date of a time in ms since 1970 that came in. */
export function toDate(ms: number): Date {
  return new Date(Math.min(ms, latestMs));
}

/**
 * Time that a request leaves for its call, in ms: 0 for no limit, undefined when it says
 * nothing of it. Throws InvalidArgument for what is no time.
 */
export function readTimeoutMs(headers: MsgHdrs | undefined): number | undefined {
  const text = headers?.get(Header.timeout);
  if (!text) {
    return undefined;
  }
  const ms = wholeNumber(text);
  if (ms === undefined) {
    throw new ConnectError(
      `${Header.timeout} is ${quote(text)}, and must be a whole number of ms`,
      Code.InvalidArgument,
    );
  }
  return ms;
}

/** When the server accepted a call, in ms since 1970, as a message says; undefined when it does not. */
export function readAccepted(headers: MsgHdrs | undefined): number | undefined {
  const ms = wholeNumber(headers?.get(Header.accepted));
  return ms && ms <= latestMs ? ms : undefined;
}

/** The digest of a request, as a message says; undefined where that is no digest. */
export function readDigest(headers: MsgHdrs | undefined): string | undefined {
  const text = headers?.get(Header.digest);
  return text && /^[\da-f]{64}$/.test(text) ? text : undefined;
}

/** A text that came in, cut for an error: its sender chose its length. */
export function quote(text: string): string {
  return JSON.stringify(text.length > 64 ? `${text.slice(0, 64)}…` : text);
}
