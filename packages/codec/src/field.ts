import type { DescField } from "@bufbuild/protobuf";
import { isWrapperDesc } from "@bufbuild/protobuf/wkt";

/** Whether the messages of a field end with a tag, as groups do, instead of having a length. */
export function isDelimited(field: DescField): boolean {
  return "delimitedEncoding" in field && field.delimitedEncoding === true;
}

/**
 * Whether a field holds what is in a wrapper, such as a string instead of a
 * google.protobuf.StringValue. protobuf-es unwraps fields that are neither repeated nor in a oneof.
 */
export function isUnwrapped({ fieldKind, oneof, message }: DescField): boolean {
  return fieldKind === "message" && !oneof && isWrapperDesc(message);
}

/** Whether a field holds JSON instead of a google.protobuf.Struct: but not in a Value. */
export function isJson({ message, parent }: DescField): boolean {
  return (
    message?.typeName === "google.protobuf.Struct" && parent.typeName !== "google.protobuf.Value"
  );
}
