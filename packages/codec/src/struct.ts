import type { Struct, Value } from "@bufbuild/protobuf/wkt";
import type { Values } from "./zero.js";

/** The message of a JSON object. */
export function structOf(json: Values): Struct {
  const fields: Record<string, Value> = {};
  for (const key of Object.keys(json)) {
    fields[key] = wrapped(json[key]);
  }
  return { $typeName: "google.protobuf.Struct", fields };
}

/** Values that JSON does not have, such as undefined, are a Value without a kind. */
function wrapped(json: unknown): Value {
  return { $typeName: "google.protobuf.Value", kind: kindOf(json) };
}

function kindOf(json: unknown): Value["kind"] {
  switch (typeof json) {
    case "string":
      return { case: "stringValue", value: json };
    case "number":
      return { case: "numberValue", value: json };
    case "boolean":
      return { case: "boolValue", value: json };
    case "object":
      if (json === null) {
        return { case: "nullValue", value: 0 };
      }
      if (Array.isArray(json)) {
        // Holes are values, too.
        const values = Array.from(json, wrapped);
        return { case: "listValue", value: { $typeName: "google.protobuf.ListValue", values } };
      }
      return { case: "structValue", value: structOf(json as Values) };
    default:
      return { case: undefined };
  }
}

/** The JSON object of a message. */
export function jsonOf({ fields }: Struct): Values {
  const json: Values = {};
  for (const key of Object.keys(fields)) {
    json[key] = jsonOfValue(fields[key] as Value);
  }
  return json;
}

function jsonOfValue({ kind }: Value): unknown {
  switch (kind.case) {
    case "structValue":
      return jsonOf(kind.value);
    case "listValue":
      return kind.value.values.map(jsonOfValue);
    case "nullValue":
    case undefined:
      return null;
    default:
      return kind.value;
  }
}
