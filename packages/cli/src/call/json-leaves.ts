import { type DescField, type DescMessage, type JsonValue, ScalarType } from "@bufbuild/protobuf";

/** A value in the JSON of a message that may stand for a file. */
export interface Leaf {
  readonly kind: "bytes" | "blob";
  readonly value: JsonValue;
  /** `film`, `pages[2].picture`. */
  readonly path: string;
}

const blobType = "jetrpc.v1.Blob";

/**
 * The JSON of a message, with other values where its fields are bytes or Blobs. What does not fit
 * the schema is left as it is: who decodes it says so.
 */
export function mapLeaves(
  schema: DescMessage,
  json: JsonValue,
  map: (leaf: Leaf) => JsonValue,
  path = "",
): JsonValue {
  // Google's own types have a JSON of their own.
  if (!isObject(json) || schema.typeName.startsWith("google.protobuf.")) {
    return json;
  }
  return Object.fromEntries(
    Object.entries(json).map(([key, value]) => {
      const field = schema.fields.find(({ jsonName, name }) => jsonName === key || name === key);
      const at = path === "" ? key : `${path}.${key}`;
      return [key, field ? mapField(field, value, map, at) : value];
    }),
  );
}

function mapField(
  field: DescField,
  value: JsonValue,
  map: (leaf: Leaf) => JsonValue,
  path: string,
): JsonValue {
  const isBytes = field.scalar === ScalarType.BYTES;
  const { message } = field;
  if (!(isBytes || message)) {
    return value;
  }
  const one = (each: JsonValue, at: string) => {
    if (isBytes || message?.typeName === blobType) {
      return map({ kind: isBytes ? "bytes" : "blob", value: each, path: at });
    }
    return mapLeaves(message as DescMessage, each, map, at);
  };
  if (field.fieldKind === "list" && Array.isArray(value)) {
    return value.map((each, index) => one(each, `${path}[${index}]`));
  }
  if (field.fieldKind === "map" && isObject(value)) {
    return Object.fromEntries(
      Object.entries(value).map(([key, each]) => [key, one(each, `${path}.${key}`)]),
    );
  }
  return one(value, path);
}

function isObject(json: JsonValue): json is { [key: string]: JsonValue } {
  return typeof json === "object" && json !== null && !Array.isArray(json);
}
