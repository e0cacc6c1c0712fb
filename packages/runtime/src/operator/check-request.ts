import {
  type DescField,
  type DescMessage,
  fromJson,
  type JsonObject,
  type JsonValue,
  type Message,
  type Registry,
} from "@bufbuild/protobuf";
import type { Blob } from "../gen/jetrpc/v1/blob_pb.js";
import { blobsIn } from "../schema/blob-fields.js";

/** A field of a request in JSON that the schema refuses. */
export interface FieldProblem {
  /** The field, such as `pages[2].number`; empty for the message as a whole. */
  readonly path: string;
  /** Why it is refused. */
  readonly problem: string;
}

/** Each field of a message in JSON that its schema refuses; empty when it can be read. */
export function checkJson(
  schema: DescMessage,
  json: JsonValue,
  registry: Registry,
  path = "",
): FieldProblem[] {
  if (isOwnJson(schema) || typeof json !== "object" || json === null || Array.isArray(json)) {
    return tryToRead(schema, json, registry, path);
  }
  const problems: FieldProblem[] = [];
  for (const [name, value] of Object.entries(json)) {
    const at = path ? `${path}.${name}` : name;
    const field = schema.fields.find((each) => each.jsonName === name || each.name === name);
    if (!field) {
      const known = schema.fields.map((each) => each.jsonName).join(", ");
      problems.push({ path: at, problem: `${schema.typeName} has no such field: it has ${known}` });
    } else {
      problems.push(...checkField(schema, field, value, registry, at, name));
    }
  }
  // Fields may exclude each other.
  return problems.length > 0 ? problems : tryToRead(schema, json, registry, path);
}

function checkField(
  schema: DescMessage,
  field: DescField,
  value: JsonValue,
  registry: Registry,
  path: string,
  name: string,
): FieldProblem[] {
  const message = field.message;
  if (message && field.fieldKind === "message" && value !== null) {
    return checkJson(message, value, registry, path);
  }
  if (field.fieldKind === "list" && Array.isArray(value)) {
    return value.flatMap((each, index) =>
      message
        ? checkJson(message, each, registry, `${path}[${index}]`)
        : tryToRead(schema, { [name]: [each] }, registry, `${path}[${index}]`),
    );
  }
  if (field.fieldKind === "map" && typeof value === "object" && value !== null) {
    return Object.entries(value as JsonObject).flatMap(([key, each]) =>
      message
        ? checkJson(message, each, registry, `${path}["${key}"]`)
        : tryToRead(schema, { [name]: { [key]: each } }, registry, `${path}["${key}"]`),
    );
  }
  return tryToRead(schema, { [name]: value }, registry, path);
}

/** True for a type whose JSON is not an object of its fields. */
function isOwnJson({ typeName }: DescMessage): boolean {
  return typeName.startsWith("google.protobuf.");
}

function tryToRead(
  schema: DescMessage,
  json: JsonValue,
  registry: Registry,
  path: string,
): FieldProblem[] {
  try {
    fromJson(schema, json, { registry });
    return [];
  } catch (error) {
    return [{ path, problem: error instanceof Error ? error.message : String(error) }];
  }
}

/** Blobs of a request that are not those of the request that it replaces. */
export function foreignBlobs(
  schema: DescMessage,
  message: Message,
  original: Message,
): FieldProblem[] {
  const name = ({ object, size, digest }: Blob) => `${object} ${size} ${digest}`;
  const known = new Set(blobsIn(schema, original).map(name));
  return blobsIn(schema, message)
    .filter((blob) => !known.has(name(blob)))
    .map((blob) => ({
      path: "",
      problem: `the Blob "${blob.object}" is not one of this request: leave its object, size and digest as they are, or take the field out`,
    }));
}
