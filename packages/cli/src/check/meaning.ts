import {
  type DescField,
  type DescMessage,
  fromBinary,
  fromJsonString,
  isFieldSet,
  type Message,
  type Registry,
} from "@bufbuild/protobuf";

/** A type, and the types that its fields of Any may hold. */
export interface Reader {
  readonly schema: DescMessage;
  readonly registry: Registry;
}

/** A message as it is stored. */
export interface Payload {
  readonly bytes: Uint8Array;
  readonly isJson: boolean;
}

/**
 * Tells what a message loses when it is read by another version of its type: undefined when it
 * means the same. What only the new version knows is no loss.
 */
export function lossOf(
  payload: Payload,
  before: Reader | undefined,
  after: Reader,
): string | undefined {
  let now: Message;
  try {
    now = read(payload, after);
  } catch (cause) {
    return `cannot be decoded: ${(cause as Error).message}`;
  }
  let was: Message;
  try {
    was = before ? read(payload, before) : now;
  } catch {
    // It was not readable before, and is now.
    return undefined;
  }
  return before && difference(meaningOf(before.schema, was), meaningOf(after.schema, now), "");
}

function read({ bytes, isJson }: Payload, { schema, registry }: Reader): Message {
  return isJson
    ? fromJsonString(schema, new TextDecoder().decode(bytes), { registry })
    : fromBinary(schema, bytes);
}

/** A value without what depends on its type in a .proto: fields by number, numbers as text. */
type Meaning = string | readonly Meaning[] | Fields;

interface Fields {
  readonly fields: ReadonlyMap<number, { readonly name: string; readonly value: Meaning }>;
}

function meaningOf(schema: DescMessage, message: Message): Fields {
  const fields = new Map<number, { name: string; value: Meaning }>();
  for (const field of schema.fields) {
    if (isFieldSet(message, field)) {
      fields.set(field.number, { name: field.name, value: meaningOfField(field, message) });
    }
  }
  return { fields };
}

function meaningOfField(field: DescField, message: Message): Meaning {
  const at = message as unknown as Record<string, unknown>;
  const value = field.oneof
    ? (at[field.oneof.localName] as { value: unknown }).value
    : at[field.localName];
  const one = (each: unknown): Meaning => {
    if (field.message) {
      return meaningOf(field.message, each as Message);
    }
    if (field.enum) {
      const number = each as number;
      return field.enum.value[number] ? `${number}` : `${number}, which the enum lacks`;
    }
    return scalar(each);
  };
  if (field.fieldKind === "list") {
    return (value as unknown[]).map(one);
  }
  if (field.fieldKind === "map") {
    return Object.entries(value as object)
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([key, each]) => [key, one(each)]);
  }
  return one(value);
}

/** Text and bytes, and numbers and truths, are the same on the wire. */
function scalar(value: unknown): string {
  if (typeof value === "string") {
    return Buffer.from(value).toString("hex");
  }
  return value instanceof Uint8Array ? Buffer.from(value).toString("hex") : String(Number(value));
}

function difference(was: Meaning, is: Meaning, path: string): string | undefined {
  if (typeof was === "string" || typeof is === "string") {
    return was === is ? undefined : `${path} reads as another value`;
  }
  if ("fields" in was) {
    if (!("fields" in is)) {
      return `${path} reads as another value`;
    }
    for (const [number, { name, value }] of was.fields) {
      const other = is.fields.get(number);
      const at = path === "" ? name : `${path}.${name}`;
      const found = other ? difference(value, other.value, at) : `${at} (field ${number}) is lost`;
      if (found !== undefined) {
        return found;
      }
    }
    return undefined;
  }
  if ("fields" in is || was.length !== is.length) {
    return `${path} reads as another value`;
  }
  for (const [index, each] of was.entries()) {
    const found = difference(each, is[index] as Meaning, path);
    if (found !== undefined) {
      return found;
    }
  }
  return undefined;
}
