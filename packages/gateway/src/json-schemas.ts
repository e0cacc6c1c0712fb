import {
  type DescEnum,
  type DescField,
  type DescMessage,
  type DescOneof,
  ScalarType,
} from "@bufbuild/protobuf";
import { FeatureSet_FieldPresence } from "@bufbuild/protobuf/wkt";
import { commentOf } from "./comments.js";

/** A JSON Schema of draft 2020-12, as OpenAPI 3.1 has them. */
export type JsonSchema = { readonly [keyword: string]: unknown };

const int32: JsonSchema = {
  type: "integer",
  format: "int32",
  minimum: -(2 ** 31),
  maximum: 2 ** 31 - 1,
};
const uint32: JsonSchema = { type: "integer", minimum: 0, maximum: 2 ** 32 - 1 };
const int64: JsonSchema = { type: "string", format: "int64", pattern: "^-?(?:0|[1-9][0-9]*)$" };
const uint64: JsonSchema = { type: "string", pattern: "^(?:0|[1-9][0-9]*)$" };
const number: JsonSchema = {
  anyOf: [{ type: "number" }, { type: "string", enum: ["NaN", "Infinity", "-Infinity"] }],
};
const bool: JsonSchema = { type: "boolean" };
const string: JsonSchema = { type: "string" };
const bytes: JsonSchema = { type: "string", contentEncoding: "base64" };

const scalars: Record<ScalarType, JsonSchema> = {
  [ScalarType.DOUBLE]: number,
  [ScalarType.FLOAT]: number,
  [ScalarType.INT64]: int64,
  [ScalarType.UINT64]: uint64,
  [ScalarType.INT32]: int32,
  [ScalarType.FIXED64]: uint64,
  [ScalarType.FIXED32]: uint32,
  [ScalarType.BOOL]: bool,
  [ScalarType.STRING]: string,
  [ScalarType.BYTES]: bytes,
  [ScalarType.UINT32]: uint32,
  [ScalarType.SFIXED32]: int32,
  [ScalarType.SFIXED64]: int64,
  [ScalarType.SINT32]: int32,
  [ScalarType.SINT64]: int64,
};

/** Types that have a JSON of their own: https://protobuf.dev/programming-guides/json/ */
const wellKnown: Record<string, JsonSchema> = {
  "google.protobuf.Any": {
    type: "object",
    properties: { "@type": { type: "string", description: "type.googleapis.com/ and the type" } },
    description: "A message of the type that @type names, with its fields beside it.",
  },
  "google.protobuf.Duration": { type: "string", pattern: "^-?[0-9]+(?:\\.[0-9]{1,9})?s$" },
  "google.protobuf.Timestamp": { type: "string", format: "date-time" },
  "google.protobuf.FieldMask": string,
  "google.protobuf.Struct": { type: "object" },
  "google.protobuf.ListValue": { type: "array" },
  "google.protobuf.Value": { description: "Any JSON." },
  "google.protobuf.NullValue": { type: "null" },
  "google.protobuf.DoubleValue": number,
  "google.protobuf.FloatValue": number,
  "google.protobuf.Int64Value": int64,
  "google.protobuf.UInt64Value": uint64,
  "google.protobuf.Int32Value": int32,
  "google.protobuf.UInt32Value": uint32,
  "google.protobuf.BoolValue": bool,
  "google.protobuf.StringValue": string,
  "google.protobuf.BytesValue": bytes,
};

/**
 * The schemas of messages and enums in JSON, by their full name. They are of the JSON that is
 * written; what is read may also be in other forms, such as an int64 as a number.
 */
export class JsonSchemas {
  readonly schemas: Record<string, JsonSchema> = {};

  /** The schema of a type, which is added with all that it uses. */
  ref(type: DescMessage | DescEnum): JsonSchema {
    const { typeName } = type;
    if (!Object.hasOwn(this.schemas, typeName)) {
      // A type may use itself.
      this.schemas[typeName] = {};
      this.schemas[typeName] =
        wellKnown[typeName] ?? (type.kind === "message" ? this.message(type) : enumSchema(type));
    }
    return { $ref: `#/components/schemas/${typeName}` };
  }

  private message(message: DescMessage): JsonSchema {
    const { fields, oneofs } = message;
    const required = fields.filter(
      ({ presence }) => presence === FeatureSet_FieldPresence.LEGACY_REQUIRED,
    );
    const choices = oneofs.filter((oneof) => oneof.fields.length > 1);
    return {
      type: "object",
      ...described(message),
      // Also a field named __proto__ is a property.
      properties: Object.fromEntries(
        fields.map((field) => [field.jsonName, { ...this.field(field), ...described(field) }]),
      ),
      ...(required.length > 0 && { required: required.map(({ jsonName }) => jsonName) }),
      ...(choices.length > 0 && { allOf: choices.map(atMostOne) }),
    };
  }

  private field(field: DescField): JsonSchema {
    switch (field.fieldKind) {
      case "list":
        return { type: "array", items: this.value(field) };
      case "map":
        return {
          type: "object",
          ...propertyNames(field.mapKey),
          additionalProperties: this.value(field),
        };
      default:
        return this.value(field);
    }
  }

  /** The schema of a field's value; of each value where there are several. */
  private value({ message, enum: its, scalar }: DescField): JsonSchema {
    const type = message ?? its;
    return type ? this.ref(type) : (scalars[scalar as ScalarType] as JsonSchema);
  }
}

function enumSchema(its: DescEnum): JsonSchema {
  const names = { type: "string", enum: its.values.map(({ name }) => name) };
  // A number stands for a value that this schema does not know yet.
  return { ...described(its), ...(its.open ? { anyOf: [names, { type: "integer" }] } : names) };
}

function propertyNames(key: ScalarType): JsonSchema {
  switch (key) {
    case ScalarType.STRING:
      return {};
    case ScalarType.BOOL:
      return { propertyNames: { enum: ["true", "false"] } };
    default:
      return { propertyNames: { pattern: "^-?[0-9]+$" } };
  }
}

function atMostOne({ fields }: DescOneof): JsonSchema {
  const each = fields.map(({ jsonName }) => ({ required: [jsonName] }));
  return { oneOf: [...each, { title: "none of them", not: { anyOf: each } }] };
}

function described(desc: DescMessage | DescEnum | DescField): JsonSchema {
  const description = commentOf(desc);
  return { ...(description && { description }), ...(desc.deprecated && { deprecated: true }) };
}
