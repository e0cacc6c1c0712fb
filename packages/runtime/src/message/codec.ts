import {
  create,
  type DescMessage,
  type DescMethod,
  fromJsonString,
  isMessage,
  type Message,
  type MessageInitShape,
  type MessageShape,
  toBinary,
  toJsonString,
} from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";
import * as codec from "@jetrpc/codec";
import { typesOf } from "../schema/type-registry.js";
import { causedError } from "./caused-error.js";
import { type Encoding, jsonType } from "./encoding.js";
import { permanent } from "./error-marks.js";

/** Serializes a message, or what a message can be made from. Throws `code` when it cannot be. */
export function encode<D extends DescMessage>(
  schema: D,
  init: MessageInitShape<D>,
  code: Code,
): Uint8Array {
  try {
    return codec.encode(schema, init, shared);
  } catch {
    return encodeOdd(schema, init, code);
  }
}

/** Serializes a message of another type that has the same fields. Throws `code` for anything else. */
function encodeOdd<D extends DescMessage>(
  schema: D,
  init: MessageInitShape<D>,
  code: Code,
): Uint8Array {
  try {
    return toBinary(schema, normalize(schema, init));
  } catch (cause) {
    throw failure(`cannot serialize ${schema.typeName}`, code, cause);
  }
}

/** Serializes the response of a method. Throws Internal when it cannot be. */
export function encodeResponse(
  { output, parent }: DescMethod,
  init: MessageInitShape<DescMessage>,
  encoding: Encoding,
): Uint8Array {
  if (encoding === "binary") {
    return encode(output, init, Code.Internal);
  }
  try {
    const options = { registry: typesOf(parent) };
    return new TextEncoder().encode(toJsonString(output, normalize(output, init), options));
  } catch (cause) {
    throw failure(`cannot serialize ${output.typeName} as JSON`, Code.Internal, cause);
  }
}

/**
 * Parses the request of a method. In JSON no bytes are the message without a field, and
 * fields that the schema does not have are left out, as in Connect. Throws InvalidArgument.
 */
export function decodeRequest(
  { input, parent }: DescMethod,
  bytes: Uint8Array,
  encoding: Encoding,
): Message {
  if (encoding === "binary") {
    return decode(input, bytes, Code.InvalidArgument);
  }
  try {
    const options = { registry: typesOf(parent), ignoreUnknownFields: true };
    return fromJsonString(input, new TextDecoder().decode(bytes) || "{}", options);
  } catch (cause) {
    throw failure(`cannot parse the JSON of ${input.typeName}`, Code.InvalidArgument, cause);
  }
}

/** Makes a message of what a caller or handler gave. */
export function normalize<D extends DescMessage>(
  schema: D,
  init: MessageInitShape<D>,
): MessageShape<D> {
  return isMessage(init, schema) ? init : create(schema, init);
}

const copies = { copyBytes: true };

/**
 * Parses a message; its fields of `bytes` are copies that share memory with nothing. The bytes
 * are a part of the data that the NATS client read from its socket: a user who transfers a field
 * to another thread must not take the rest along, and an array of floats must find it aligned.
 *
 * Throws `code` when the bytes are no such message.
 */
export function decode<D extends DescMessage>(
  schema: D,
  bytes: Uint8Array,
  code: Code,
): MessageShape<D> {
  try {
    return codec.decode(schema, bytes, copies);
  } catch (cause) {
    const hint = bytes[0] === openingBrace ? jsonHint : "";
    throw failure(`cannot parse ${bytes.length} bytes as ${schema.typeName}${hint}`, code, cause);
  }
}

/** The bytes are sent soon, and users do not see them. */
const shared = { shareMemory: true };

const openingBrace = 0x7b;
const jsonHint = ` (JSON needs the header "Content-Type: ${jsonType}", written so)`;

/** How large serialized messages may be; what a Blob holds does not count. */
export interface MessageLimits {
  /** Most bytes that a message may have that comes in. */
  readonly readMaxBytes: number;
  /** Most bytes that a message may have that goes out. */
  readonly writeMaxBytes: number;
}

/** Limits that may be left out. */
export type MessageLimitOptions = {
  readonly [L in keyof MessageLimits]?: MessageLimits[L] | undefined;
};

/** Fills in what is not limited: 4 GiB, as in Connect. Throws InvalidArgument for what is no size. */
export function messageLimits(options: MessageLimitOptions): MessageLimits {
  const most = 0xffffffff;
  const { readMaxBytes = most, writeMaxBytes = most } = options;
  for (const [name, bytes] of Object.entries({ readMaxBytes, writeMaxBytes })) {
    if (!Number.isInteger(bytes) || bytes < 1 || bytes > most) {
      const text = `${name} is ${bytes}, and must be a whole number of bytes, 1 to ${most}`;
      throw new ConnectError(text, Code.InvalidArgument);
    }
  }
  return { readMaxBytes, writeMaxBytes };
}

/**
 * Throws ResourceExhausted when a message has more bytes than the named limit; for good:
 * a further attempt of a durable call would not change it.
 */
export function checkSize(
  { typeName }: DescMessage,
  bytes: Uint8Array,
  limits: MessageLimits,
  limit: keyof MessageLimits,
): void {
  if (bytes.length > limits[limit]) {
    const text = `${typeName} of ${bytes.length} bytes is larger than ${limit}, ${limits[limit]}`;
    throw permanent(new ConnectError(text, Code.ResourceExhausted));
  }
}

function failure(what: string, code: Code, cause: unknown): ConnectError {
  const why = cause instanceof Error ? cause.message : String(cause);
  return causedError(`${what}: ${why}`, code, cause);
}
