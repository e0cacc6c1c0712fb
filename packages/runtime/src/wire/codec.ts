import {
  create,
  type DescMessage,
  fromBinary,
  fromJsonString,
  isMessage,
  type MessageInitShape,
  type MessageShape,
  toBinary,
  toJsonString,
} from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";
import { quote } from "./header.js";
import { ownBytes } from "./own-bytes.js";

/** Serializes a message, or what a message can be made from. Throws `code` when it cannot be. */
export function encode<D extends DescMessage>(
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

/** Content type of a message in protobuf's JSON mapping. */
export const jsonType = "application/json";

/** How a message is written: both are protobuf's own. */
export type Encoding = "binary" | "json";

/** The encoding that a content type names. Throws InvalidArgument for one that is not known. */
export function encodingOf(contentType: string): Encoding {
  const [type = ""] = contentType.toLowerCase().split(";");
  switch (type.trim()) {
    case "":
    case "application/protobuf":
    case "application/proto":
    case "application/x-protobuf":
      return "binary";
    case jsonType:
      return "json";
    default:
      throw new ConnectError(
        `content type ${quote(contentType)} is not known: send ${jsonType} or application/protobuf`,
        Code.InvalidArgument,
      );
  }
}

/** Serializes a message as JSON. Throws `code` when it cannot be. */
export function encodeJson<D extends DescMessage>(
  schema: D,
  init: MessageInitShape<D>,
  code: Code,
): Uint8Array {
  try {
    return new TextEncoder().encode(toJsonString(schema, normalize(schema, init)));
  } catch (cause) {
    throw failure(`cannot serialize ${schema.typeName} as JSON`, code, cause);
  }
}

/** Parses a message of JSON; no bytes are the message without a field. Throws `code`. */
export function decodeJson<D extends DescMessage>(
  schema: D,
  bytes: Uint8Array,
  code: Code,
): MessageShape<D> {
  try {
    return fromJsonString(schema, new TextDecoder().decode(bytes) || "{}");
  } catch (cause) {
    throw failure(`cannot parse the JSON of ${schema.typeName}`, code, cause);
  }
}

/** Makes a message of what a caller or handler gave. */
export function normalize<D extends DescMessage>(
  schema: D,
  init: MessageInitShape<D>,
): MessageShape<D> {
  return isMessage(init, schema) ? init : create(schema, init);
}

/**
 * Parses a message; its fields of `bytes` are copies that share memory with nothing.
 * Throws `code` when the bytes are no such message.
 */
export function decode<D extends DescMessage>(
  schema: D,
  bytes: Uint8Array,
  code: Code,
): MessageShape<D> {
  try {
    const message = fromBinary(schema, bytes);
    ownBytes(schema, message);
    return message;
  } catch (cause) {
    const hint = bytes[0] === openingBrace ? jsonHint : "";
    throw failure(`cannot parse ${bytes.length} bytes as ${schema.typeName}${hint}`, code, cause);
  }
}

const openingBrace = 0x7b;
const jsonHint = ` (JSON needs the header "Content-Type: ${jsonType}", written so)`;

/** How large serialized messages may be. */
export interface MessageLimits {
  /** Most bytes that a message may have that comes in. */
  readonly readMaxBytes: number;
  /** Most bytes that a message may have that goes out. */
  readonly writeMaxBytes: number;
}

/** Fills in what is not limited: 4 GiB, as in Connect. */
export function messageLimits(options: Partial<MessageLimits>): MessageLimits {
  const unlimited = 0xffffffff;
  const { readMaxBytes = unlimited, writeMaxBytes = unlimited } = options;
  return { readMaxBytes, writeMaxBytes };
}

/** Throws ResourceExhausted when a message has more bytes than the named limit. */
export function checkSize(
  { typeName }: DescMessage,
  bytes: Uint8Array,
  limits: MessageLimits,
  limit: keyof MessageLimits,
): void {
  if (bytes.length > limits[limit]) {
    throw new ConnectError(
      `${typeName} of ${bytes.length} bytes is larger than ${limit}, ${limits[limit]}`,
      Code.ResourceExhausted,
    );
  }
}

function failure(what: string, code: Code, cause: unknown): ConnectError {
  const why = cause instanceof Error ? cause.message : String(cause);
  return new ConnectError(`${what}: ${why}`, code, undefined, undefined, cause);
}
