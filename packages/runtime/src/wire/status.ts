import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { anyPack } from "@bufbuild/protobuf/wkt";
import { Code, ConnectError } from "@connectrpc/connect";
import type { Msg } from "@nats-io/nats-core";
import { StatusSchema } from "../gen/google/rpc/status_pb.js";
import { Header, HeaderBlock, readMetadata } from "./header.js";

/** An error as it crosses the wire: ADR-32 headers and a google.rpc.Status. */
export interface WireStatus {
  readonly headers: HeaderBlock;
  readonly payload: Uint8Array;
}

/**
 * Writes an error: code and a one-line text as the NATS micro error headers,
 * and the whole of it as a google.rpc.Status in the payload.
 */
export function encodeStatus(error: ConnectError, headers = new HeaderBlock()): WireStatus {
  const status = create(StatusSchema, {
    code: error.code,
    message: error.rawMessage,
    details: error.details.map((detail) =>
      "desc" in detail
        ? anyPack(detail.desc, create(detail.desc, detail.value))
        : { typeUrl: `type.googleapis.com/${detail.type}`, value: detail.value },
    ),
  });
  headers
    .add(Header.errorCode, error.code)
    .add(Header.error, oneLine(error.rawMessage))
    .addTrailer(error.metadata);
  return { headers, payload: toBinary(StatusSchema, status) };
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
export function decodeStatusBytes({ headers }: Msg, bytes: Uint8Array): ConnectError {
  const headerCode = Number(headers?.get(Header.errorCode));
  const metadata = readMetadata(headers, "trailer");
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
  return Code[code] === undefined ? Code.Unknown : code;
}

/** Makes a text fit into one header line. */
function oneLine(text: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: these are what must go
  return text.replace(/[\u0000-\u001f\u007f]+/g, " ").slice(0, 512);
}

/**
 * Turns what a handler threw into the error that its caller may see. The text
 * of anything but a ConnectError stays here, unless it is to be revealed: it may
 * hold what is not for callers.
 */
export function toCallerError(thrown: unknown, reveal: boolean): ConnectError {
  if (thrown instanceof ConnectError) {
    return thrown;
  }
  const text = thrown instanceof Error ? thrown.message : String(thrown);
  return new ConnectError(
    reveal ? text : "internal error",
    Code.Internal,
    undefined,
    undefined,
    thrown,
  );
}

const permanentErrors = new WeakSet<ConnectError>();

/**
 * Marks an error as final: a durable call that ends with it is not attempted
 * again, whatever its code.
 */
export function permanent(error: ConnectError): ConnectError {
  permanentErrors.add(error);
  return error;
}

/** True when a further attempt of a durable call may help. */
export function isRetried(error: ConnectError, retryCodes: ReadonlySet<Code>): boolean {
  return !permanentErrors.has(error) && (retryCodes.has(error.code) || retryDelays.has(error));
}

const retryDelays = new WeakMap<ConnectError, number>();

/**
 * Marks an error as passing: a durable call that ends with it is attempted again
 * after so many ms, whatever its code and its method's `backoff`, as long as
 * attempts are left.
 */
export function retryAfter(error: ConnectError, delayMs: number): ConnectError {
  if (!(delayMs >= 0)) {
    throw new ConnectError(`retryAfter: ${delayMs} ms is no delay`, Code.InvalidArgument);
  }
  retryDelays.set(error, delayMs);
  return error;
}

/** What retryAfter() said of an error, in ms. */
export function retryDelayOf(error: ConnectError): number | undefined {
  return retryDelays.get(error);
}

const notRun = Symbol.for("jetrpc.notRun");

/** Marks the error of a call whose request reached no worker. */
export function neverRan(error: ConnectError): ConnectError {
  Object.defineProperty(error, notRun, { value: true });
  return error;
}

/**
 * Tells whether a direct call that failed may have run. False when its request
 * surely reached no handler: no worker was there, or no connection.
 */
export function mayHaveRun(error: unknown): boolean {
  return !(error instanceof ConnectError && notRun in error);
}

/** What the caller of a call sees that was ended from outside. */
export function endError(outcome: "cancelled" | "expired"): ConnectError {
  return outcome === "cancelled"
    ? new ConnectError("the call was canceled", Code.Canceled)
    : new ConnectError("the call did not end within its time", Code.DeadlineExceeded);
}
