import type { DescField, DescMessage, Message } from "@bufbuild/protobuf";
import type { Blob } from "@jetrpc/runtime";
import { holdsBlobs } from "@jetrpc/runtime/schema";

/** Puts another Blob in the place of each Blob of a message, in the order of its fields. */
export function replaceBlobs(
  schema: DescMessage,
  message: Message,
  replace: (blob: Blob) => Blob,
): void {
  const at = message as unknown as Record<string, unknown>;
  for (const field of schema.fields) {
    const { message: type } = field;
    if (type && (isBlob(type) || holdsBlobs(type))) {
      replaceField(field, at, (value) => {
        if (isBlob(type)) {
          return replace(value as Blob);
        }
        replaceBlobs(type, value, replace);
        return value;
      });
    }
  }
}

/** The Blobs of a message, in the order of its fields. */
export function blobsOf(schema: DescMessage, message: Message): Blob[] {
  const blobs: Blob[] = [];
  replaceBlobs(schema, message, (blob) => {
    blobs.push(blob);
    return blob;
  });
  return blobs;
}

function replaceField(
  { oneof, localName, fieldKind }: DescField,
  at: Record<string, unknown>,
  replace: (value: Message) => Message,
): void {
  if (oneof) {
    const chosen = at[oneof.localName] as { case?: string; value?: Message };
    if (chosen.case === localName && chosen.value) {
      chosen.value = replace(chosen.value);
    }
    return;
  }
  const value = at[localName] as Message | Record<string, Message> | undefined;
  if (value === undefined) {
    return;
  }
  if (fieldKind === "message") {
    at[localName] = replace(value as Message);
    return;
  }
  // A list or a map.
  const values = value as Record<string, Message>;
  for (const [key, each] of Object.entries(values)) {
    values[key] = replace(each);
  }
}

function isBlob({ typeName }: DescMessage): boolean {
  return typeName === "jetrpc.v1.Blob";
}
