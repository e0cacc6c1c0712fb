import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { base64Encode } from "@bufbuild/protobuf/wire";
import { Code, ConnectError } from "@connectrpc/connect";
import type { Msg } from "@nats-io/nats-core";
import { StatusSchema } from "../gen/google/rpc/status_pb.js";
import { codeName } from "../schema/code-name.js";
import type { Encoding } from "./encoding.js";
import { Header, HeaderBlock, headerSize, linesSize } from "./header.js";
import { appendMetadata, headerName, type MetadataPart, readMetadata } from "./metadata.js";
import { metadataLimit } from "./metadata-limit.js";
import { byteLength, cutText, leftOut, oneLine } from "./text.js";
import { isCode } from "./thrown.js";

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
  const linesBytes = lines.reduce((sum, line) => sum + lineSize(line), 0);
  let status = write(error.rawMessage, details, lines);
  if (sizeOf(status) > room || linesBytes > metadataRoom) {
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

/** Bytes of a line of the header block: two stand between its parts, and two end it. */
function lineSize([name, value]: Line): number {
  return byteLength(name + value) + 4;
}

/** Most bytes of the one-line text. */
const maxLineBytes = 512;

/** Bytes that an error that is cut needs besides text, details and metadata. */
const cutReserve = 256;

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
  return new TextEncoder().encode(
    JSON.stringify({
      code: codeName(code),
      message,
      ...(packed.length > 0 && { details: packed }),
    }),
  );
}

function sizeOf({ headers, payload }: WireStatus): number {
  return linesSize(headers) + payload.length;
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

/** The error that a caller sees whose call was ended from outside. */
export function endError(outcome: "cancelled" | "expired"): ConnectError {
  return outcome === "cancelled"
    ? new ConnectError("the call was canceled", Code.Canceled)
    : new ConnectError("the call did not end within its time", Code.DeadlineExceeded);
}
