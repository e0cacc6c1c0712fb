import { type DescField, type DescMessage, type Message, ScalarType } from "@bufbuild/protobuf";

/**
 * Gives each field of bytes in a message that was parsed memory of its own. protobuf-es
 * leaves them parts of its input, and that is a part of what the NATS client read from its
 * socket: who transfers one to another thread would take the rest along.
 */
export function ownBytes(schema: DescMessage, message: Message): void {
  if (message.$unknown) {
    message.$unknown = message.$unknown.map((field) => ({ ...field, data: copy(field.data) }));
  }
  for (const field of fieldsOf(schema)) {
    ownField(field, message as unknown as Record<string, unknown>);
  }
}

function ownField(
  { oneof, localName, fieldKind, message: type }: DescField,
  message: Values,
): void {
  if (oneof) {
    const chosen = message[oneof.localName] as { case?: string; value?: unknown };
    if (chosen.case === localName) {
      chosen.value = owned(type, chosen.value);
    }
    return;
  }
  const value = message[localName];
  if (fieldKind === "list" || fieldKind === "map") {
    const items = value as Values;
    for (const key of Object.keys(items)) {
      items[key] = owned(type, items[key]);
    }
  } else if (value !== undefined) {
    message[localName] = owned(type, value);
  }
}

type Values = Record<string, unknown>;

/** A copy of bytes, which a google.protobuf.BytesValue may be; a message with its own bytes. */
function owned(type: DescMessage | undefined, value: unknown): unknown {
  if (value instanceof Uint8Array) {
    return copy(value);
  }
  ownBytes(type as DescMessage, value as Message);
  return value;
}

/** A part of the input stands after a tag at least: what begins a buffer is no part of it. */
function copy(bytes: Uint8Array): Uint8Array {
  return bytes.byteOffset === 0 ? bytes : new Uint8Array(bytes);
}

const known = new WeakMap<DescMessage, readonly DescField[]>();

/** The fields that are bytes, or messages that may have such fields. */
function fieldsOf(schema: DescMessage): readonly DescField[] {
  let fields = known.get(schema);
  if (!fields) {
    fields = schema.fields.filter((field) => mayHoldBytes(field, new Set()));
    known.set(schema, fields);
  }
  return fields;
}

function mayHoldBytes({ scalar, message }: DescField, seen: Set<DescMessage>): boolean {
  if (!message) {
    return scalar === ScalarType.BYTES;
  }
  if (seen.has(message)) {
    return false;
  }
  seen.add(message);
  return (
    // What extends a message may be bytes.
    message.proto.extensionRange.length > 0 ||
    message.fields.some((field) => mayHoldBytes(field, seen))
  );
}
