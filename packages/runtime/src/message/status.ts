import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { base64Encode } from "@bufbuild/protobuf/wire";
import { Code, ConnectError } from "@connectrpc/connect";
import type { Msg } from "@nats-io/nats-core";
import { StatusSchema } from "../gen/google/rpc/status_pb.js";
import { causedError } from "./caused-error.js";
import type { Encoding } from "./codec.js";
import {
  Header,
  HeaderBlock,
  headerName,
  headerSize,
  linesSize,
  type MetadataPart,
  metadataLimit,
  readMetadata,
} from "./header.js";

/** An error as it crosses the wire: ADR-32 headers and a google.rpc.Status. */
export interface WireStatus {
  readonly headers: HeaderBlock;
  readonly payload: Uint8Array;
}

/** How an error is written. */
export interface StatusOptions {
  /** Most bytes that headers and payload may have together. Default: no limit. */
  readonly maxBytes?: number;
  /** Headers that go with it: those of the error are added. */
  readonly headers?: HeaderBlock;
  /** Default: binary. */
  readonly encoding?: Encoding;
  /** Where the error's metadata goes. Default: where that of a response's trailer does. */
  readonly metadata?: "trailer" | "letter";
  /** Header of the response that the error takes the place of. */
  readonly header?: Headers | undefined;
}

/**
 * Writes an error: code and a one-line text as the NATS micro error headers,
 * and the whole of it as a google.rpc.Status in the payload.
 *
 * One that is too large is cut, and its text says so: half of the room is for the text,
 * then come details and metadata in their order, each as a whole or not at all.
 */
export function encodeStatus(
  error: ConnectError,
  {
    maxBytes = Number.POSITIVE_INFINITY,
    headers = new HeaderBlock(),
    encoding,
    metadata = "trailer",
    header,
  }: StatusOptions = {},
): WireStatus {
  const { code } = error;
  const lineBytes = Math.max(0, Math.min(maxLineBytes, Math.floor(maxBytes / 8)));
  const write = (text: string, details: readonly Detail[], lines: readonly Line[]): WireStatus => {
    const block = new HeaderBlock()
      .add(Header.errorCode, code)
      .add(Header.error, oneLine(text, lineBytes));
    for (const [name, value] of lines) {
      block.add(name, value);
    }
    const payload = encoding === "json" ? jsonStatus : binaryStatus;
    return { headers: block, payload: payload(code, text, details) };
  };
  const room = maxBytes - headerSize(headers);
  const metadataRoom = metadataLimit(maxBytes);
  const details = error.details.map(packDetail);
  const lines = [
    ...linesOf(error.metadata, metadata),
    ...(header ? linesOf(header, "header") : []),
  ];
  let status = write(error.rawMessage, details, lines);
  if (sizeOf(status) > room || linesSize(status.headers) > metadataRoom + maxLineBytes) {
    let left = Math.max(0, room - lineBytes - cutReserve);
    const take = (size: number) => {
      const fits = size <= left;
      left -= fits ? size : 0;
      return fits;
    };
    // A character of JSON may take six times its bytes.
    const text = cutText(error.rawMessage, Math.floor(left / (encoding === "json" ? 12 : 2)));
    left -= byteLength(text);
    // In base64 three bytes are four.
    const perByte = encoding === "json" ? 4 / 3 : 1;
    const kept = details.filter(({ type, value }) =>
      take(type.length + value.length * perByte + 64),
    );
    left = Math.min(left, metadataRoom);
    const keptLines = lines.filter(([name, value]) => take(byteLength(name + value) + 32));
    const part = (lost: number, all: number, what: string) =>
      lost > 0 && `${lost} of ${all} ${what}, for their size`;
    const bytes = byteLength(error.rawMessage);
    const note = leftOut(
      part(bytes - byteLength(text), bytes, "bytes of text"),
      part(details.length - kept.length, details.length, "details"),
      part(lines.length - keptLines.length, lines.length, "headers"),
    );
    status = write(text + note, kept, keptLines);
  }
  return { headers: headers.append(status.headers), payload: status.payload };
}

/** A header: its name and its value. */
type Line = readonly [name: string, value: string];

/** The headers that carry metadata. */
function linesOf(from: Headers, part: MetadataPart): Line[] {
  const lines: Line[] = [];
  from.forEach((value, name) => {
    const key = headerName(name, part);
    if (key !== undefined) {
      lines.push([key, value]);
    }
  });
  return lines;
}

/** Most bytes of the one-line text. */
const maxLineBytes = 512;

/** What an error that is cut needs besides text, details and metadata, in bytes. */
const cutReserve = 256;

/** What a text says that lacks something. */
export function leftOut(...what: (string | false)[]): string {
  const all = what.filter((each) => each);
  return all.length > 0 ? ` (left out: ${all.join(", ")})` : "";
}

type Detail = Exclude<ConnectError["details"][number], { desc: unknown }>;

/** A detail as bytes. Throws when it cannot be encoded. */
export function packDetail(detail: ConnectError["details"][number]): Detail {
  if (!("desc" in detail)) {
    return detail;
  }
  const { desc, value } = detail;
  return { type: desc.typeName, value: toBinary(desc, create(desc, value)) };
}

function binaryStatus(code: Code, message: string, details: readonly Detail[]): Uint8Array {
  const packed = details.map(({ type, value }) => ({
    typeUrl: `type.googleapis.com/${type}`,
    value,
  }));
  return toBinary(StatusSchema, create(StatusSchema, { code, message, details: packed }));
}

/** An error as Connect writes it. */
function jsonStatus(code: Code, message: string, details: readonly Detail[]): Uint8Array {
  const packed = details.map(({ type, value }) => ({
    type,
    value: base64Encode(value, "std_raw"),
  }));
  return encoder.encode(
    JSON.stringify({
      code: codeName(code),
      message,
      ...(packed.length > 0 && { details: packed }),
    }),
  );
}

/** The name of a code as Connect spells it: `resource_exhausted`. */
export function codeName(code: Code): string {
  const name = Code[code] ?? "Unknown";
  return name.replace(/(?<=.)[A-Z]/g, (letter) => `_${letter}`).toLowerCase();
}

function sizeOf({ headers, payload }: WireStatus): number {
  return linesSize(headers) + payload.length;
}

const encoder = new TextEncoder();

function byteLength(text: string): number {
  return encoder.encode(text).length;
}

/** The beginning of a text that has no more than so many bytes: whole characters. */
export function cutText(text: string, maxBytes: number): string {
  if (text.length * 3 <= maxBytes) {
    return text;
  }
  const { read } = encoder.encodeInto(text, new Uint8Array(maxBytes));
  return text.slice(0, read);
}

/** True when the message carries an error instead of a result. */
export function isStatus(message: Msg): boolean {
  return message.headers?.has(Header.errorCode) ?? false;
}

/** Reads an error. What cannot be read becomes Code.Unknown or Code.Internal, never a throw. */
export function decodeStatus(message: Msg): ConnectError {
  return decodeStatusBytes(message, message.data);
}

/** Reads an error whose google.rpc.Status is elsewhere than in the payload. */
export function decodeStatusBytes(
  { headers }: Msg,
  bytes: Uint8Array,
  part: MetadataPart = "trailer",
): ConnectError {
  const headerCode = Number(headers?.get(Header.errorCode));
  const metadata = readMetadata(headers, part);
  if (part === "trailer") {
    appendMetadata(metadata, readMetadata(headers));
  }
  try {
    const status = fromBinary(StatusSchema, bytes);
    const error = new ConnectError(
      status.message || headers?.get(Header.error) || "",
      toCode(status.code || headerCode),
      metadata,
    );
    error.details = status.details.map(({ typeUrl, value }) => ({
      type: typeUrl.slice(typeUrl.lastIndexOf("/") + 1),
      value: value.slice(),
    }));
    return error;
  } catch (cause) {
    // Another NATS micro service may send its error as text.
    const text = headers?.get(Header.error) || "the error cannot be read";
    return new ConnectError(text, toCode(headerCode), metadata, undefined, cause);
  }
}

/** Adds metadata to other metadata. */
export function appendMetadata(to: Headers, from: Headers): void {
  from.forEach((value, name) => {
    to.append(name, value);
  });
}

/** The error of a message whose payload was not read: code and text only. */
export function statusOfHeaders(message: Msg): ConnectError {
  const { headers } = message;
  return new ConnectError(
    headers?.get(Header.error) ?? "",
    toCode(Number(headers?.get(Header.errorCode))),
  );
}

/** Maps an HTTP-like or unknown number to Unknown: not every micro service speaks gRPC. */
function toCode(code: number): Code {
  return isCode(code) ? code : Code.Unknown;
}

/** Makes a text fit into one line of so many bytes. */
export function oneLine(text: string, maxBytes: number): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: these are what must go
  return cutText(text, maxBytes).replace(/[\u0000-\u001f\u007f]+/g, " ");
}

/** True for what a ConnectError's code can be. */
export function isCode(code: unknown): code is Code {
  return typeof code === "number" && Code[code] !== undefined;
}

/** What a read gives, or something else when it throws. */
export function attempt<T>(read: () => T, otherwise: T): T {
  try {
    return read();
  } catch {
    return otherwise;
  }
}

/** True for a ConnectError, of whichever copy of its package. Never throws. */
export function isConnectError(thrown: unknown): thrown is ConnectError {
  return attempt(() => thrown instanceof ConnectError, false);
}

/** The text of whatever was thrown. Never throws. */
export function textOf(thrown: unknown): string {
  const text = () => String(thrown instanceof Error ? thrown.message : thrown);
  return attempt(text, "what was thrown has no text");
}

/** ConnectError.from(), for what was thrown by others. Never throws. */
export function toConnectError(thrown: unknown): ConnectError {
  const otherwise = causedError(textOf(thrown), Code.Unknown, thrown);
  return attempt(() => ConnectError.from(thrown), otherwise);
}

// Of the registry: an error may be made by one copy of this module and read by another.
const isPermanentKey = Symbol.for("jetrpc.permanent");
const retryDelayKey = Symbol.for("jetrpc.retryAfter");
const notRunKey = Symbol.for("jetrpc.notRun");

type Marked = { readonly [key: symbol]: unknown };

/** Marks an error; one that cannot be changed is copied. */
function mark(error: ConnectError, key: symbol, value: unknown): ConnectError {
  let marked = error;
  if (!Object.isExtensible(error)) {
    const { rawMessage, code, metadata, details } = error;
    marked = new ConnectError(rawMessage, code, metadata, undefined, error);
    marked.details = details;
    copyMarks(error, marked);
  }
  return Object.defineProperty(marked, key, { value, configurable: true });
}

/** Gives an error the marks of another one. Throws what reading those throws. */
export function copyMarks(from: object, to: ConnectError): void {
  for (const key of [isPermanentKey, retryDelayKey]) {
    if (key in from) {
      Object.defineProperty(to, key, { value: (from as Marked)[key], configurable: true });
    }
  }
}

/**
 * Marks an error as final: a durable call that ends with it is not attempted
 * again, whatever its code. Returns the error, or a copy of one that is frozen.
 */
export function permanent(error: ConnectError): ConnectError {
  return mark(error, isPermanentKey, true);
}

/** True when an error is marked as final. */
export function isPermanent(error: ConnectError): boolean {
  return isPermanentKey in error;
}

/** True when a further attempt of a durable call may help. */
export function isRetried(error: ConnectError, retryCodes: ReadonlySet<Code>): boolean {
  return !isPermanent(error) && (retryCodes.has(error.code) || retryDelayOf(error) !== undefined);
}

/** Longest wait before an attempt, in ms, 100 years: JetStream counts it in ns, in 64 bits. */
const longestDelayMs = 100 * 365 * 24 * 3_600_000;

/** A wait as JetStream takes it: whole ms, and not too many. Undefined for what is no time. */
export function toDelayMs(delayMs: unknown): number | undefined {
  return Number.isFinite(delayMs) && Number(delayMs) >= 0
    ? Math.min(Math.ceil(Number(delayMs)), longestDelayMs)
    : undefined;
}

/**
 * Marks an error as passing: a durable call that ends with it is attempted again
 * after so many ms, whatever its code and its method's `backoff`, as long as
 * attempts are left. Parts of a ms count as one, and more than 100 years as that.
 * Returns the error, or a copy of one that is frozen. Throws InvalidArgument for a
 * time that is negative or not finite.
 */
export function retryAfter(error: ConnectError, delayMs: number): ConnectError {
  const delay = toDelayMs(delayMs);
  if (delay === undefined) {
    throw new ConnectError(
      `retryAfter: ${String(delayMs)} ms is no delay: give a finite number of 0 or more`,
      Code.InvalidArgument,
    );
  }
  return mark(error, retryDelayKey, delay);
}

/** What retryAfter() said of an error, in ms. */
export function retryDelayOf(error: ConnectError): number | undefined {
  return toDelayMs((error as unknown as Marked)[retryDelayKey]);
}

/** Marks the error of a call whose request reached no worker. */
export function neverRan(error: ConnectError): ConnectError {
  return mark(error, notRunKey, true);
}

/**
 * Tells whether a direct call that failed may have run. False when its request
 * surely reached no handler: no worker was there, or no connection.
 */
export function mayHaveRun(error: unknown): boolean {
  return !(error instanceof ConnectError && notRunKey in error);
}

/** What the caller of a call sees that was ended from outside. */
export function endError(outcome: "cancelled" | "expired"): ConnectError {
  return outcome === "cancelled"
    ? new ConnectError("the call was canceled", Code.Canceled)
    : new ConnectError("the call did not end within its time", Code.DeadlineExceeded);
}
