import {
  create,
  type DescMessage,
  fromBinary,
  isMessage,
  type MessageInitShape,
  type MessageShape,
  toBinary,
} from "@bufbuild/protobuf";
import { type Code, ConnectError } from "@connectrpc/connect";

/** Serializes a message, or what a message can be made from. Throws `code` when it cannot be. */
export function encode<D extends DescMessage>(
  schema: D,
  init: MessageInitShape<D>,
  code: Code,
): Uint8Array {
  try {
    return toBinary(schema, normalize(schema, init));
  } catch (cause) {
    throw new ConnectError(
      `cannot serialize ${schema.typeName}: ${String(cause)}`,
      code,
      undefined,
      undefined,
      cause,
    );
  }
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
  try {
    // `bytes` fields alias their input, and the input aliases the socket's buffer.
    return fromBinary(schema, bytes.slice());
  } catch (cause) {
    throw new ConnectError(
      `cannot parse ${bytes.length} bytes as ${schema.typeName}: ${String(cause)}`,
      code,
      undefined,
      undefined,
      cause,
    );
  }
}
