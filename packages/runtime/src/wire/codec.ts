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

/** Serializes a message, or what a message can be made from. Throws `code` when it cannot be. */
export function encode<D extends DescMessage>(
  schema: D,
  init: MessageInitShape<D>,
  code: Code,
): Uint8Array {
  return attempt(`cannot serialize ${schema.typeName}`, code, () =>
    toBinary(schema, normalize(schema, init)),
  );
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
        `content type "${contentType}" is not known: send ${jsonType} or application/protobuf`,
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
  return attempt(`cannot serialize ${schema.typeName} as JSON`, code, () =>
    new TextEncoder().encode(toJsonString(schema, normalize(schema, init))),
  );
}

/** Parses a message of JSON; no bytes are the message without a field. Throws `code`. */
export function decodeJson<D extends DescMessage>(
  schema: D,
  bytes: Uint8Array,
  code: Code,
): MessageShape<D> {
  return attempt(`cannot parse the JSON of ${schema.typeName}`, code, () =>
    fromJsonString(schema, new TextDecoder().decode(bytes) || "{}"),
  );
}

/** Makes a message of what a caller or handler gave. */
function normalize<D extends DescMessage>(schema: D, init: MessageInitShape<D>): MessageShape<D> {
  return isMessage(init, schema) ? init : create(schema, init);
}

/** Parses a message. Throws `code` when the bytes are no such message. */
export function decode<D extends DescMessage>(
  schema: D,
  bytes: Uint8Array,
  code: Code,
): MessageShape<D> {
  return attempt(`cannot parse ${bytes.length} bytes as ${schema.typeName}`, code, () =>
    // `bytes` fields alias their input, and the input aliases the socket's buffer.
    fromBinary(schema, bytes.slice()),
  );
}

function attempt<T>(what: string, code: Code, work: () => T): T {
  try {
    return work();
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new ConnectError(`${what}: ${why}`, code, undefined, undefined, cause);
  }
}
