import type { DescField, DescMessage, JsonValue } from "@bufbuild/protobuf";

/** Stands for a value that is hidden. */
export const hidden = "***";

/** A message in JSON without its values: fields, and how many entries lists and maps have, stay. */
export function maskJson(schema: DescMessage, json: JsonValue): JsonValue {
  if (schema.typeName.startsWith("google.protobuf.") || !isObject(json)) {
    // Their JSON is not an object of their fields.
    return hidden;
  }
  return Object.fromEntries(
    Object.entries(json).map(([name, value]) => {
      const field = schema.fields.find((each) => each.jsonName === name || each.name === name);
      return [name, field ? maskField(field, value) : hidden];
    }),
  );
}

function maskField({ fieldKind, message }: DescField, value: JsonValue): JsonValue {
  const mask = (each: JsonValue) => (message ? maskJson(message, each) : hidden);
  if (fieldKind === "list" && Array.isArray(value)) {
    return value.map(mask);
  }
  if (fieldKind === "map" && isObject(value)) {
    // Keys are values, too.
    const entries = Object.values(value);
    return Object.fromEntries(entries.map((each, i) => [`${hidden} ${i + 1}`, mask(each)]));
  }
  return mask(value);
}

function isObject(value: JsonValue): value is { [name: string]: JsonValue } {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
