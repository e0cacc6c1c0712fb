import type { DescField, DescMessage, Message } from "@bufbuild/protobuf";
import type { Blob } from "../gen/jetrpc/v1/blob_pb.js";

const blobType = "jetrpc.v1.Blob";

const known = new WeakMap<DescMessage, readonly DescField[]>();

/** True when a message may hold a Blob, itself or in a message within it. */
export function holdsBlobs(schema: DescMessage): boolean {
  return fieldsOf(schema).length > 0;
}

/** All Blobs of a message, in the order of its fields. */
export function blobsIn(schema: DescMessage, message: Message): Blob[] {
  return fieldsOf(schema).flatMap((field) =>
    valuesOf(field, message as unknown as Record<string, unknown>).flatMap((value) => {
      const its = field.message as DescMessage;
      return its.typeName === blobType ? [value as Blob] : blobsIn(its, value);
    }),
  );
}

/** The fields that are Blobs or lead to one. */
function fieldsOf(schema: DescMessage): readonly DescField[] {
  let fields = known.get(schema);
  if (!fields) {
    fields = schema.fields.filter(({ message }) => message && leadsToBlob(message, new Set()));
    known.set(schema, fields);
  }
  return fields;
}

function leadsToBlob(schema: DescMessage, seen: Set<DescMessage>): boolean {
  if (schema.typeName === blobType) {
    return true;
  }
  if (seen.has(schema)) {
    return false;
  }
  seen.add(schema);
  return schema.fields.some(({ message }) => message && leadsToBlob(message, seen));
}

function valuesOf(field: DescField, message: Record<string, unknown>): Message[] {
  if (field.oneof) {
    const chosen = message[field.oneof.localName] as { case?: string; value?: Message };
    return chosen.case === field.localName && chosen.value ? [chosen.value] : [];
  }
  const value = message[field.localName] as Message | Message[] | undefined;
  if (value === undefined) {
    return [];
  }
  return field.fieldKind === "message" ? [value as Message] : Object.values(value);
}
