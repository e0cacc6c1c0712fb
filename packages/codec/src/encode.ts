import {
  create,
  type DescField,
  type DescMessage,
  type DescOneof,
  isMessage,
  type Message,
  type MessageInitShape,
  protoInt64,
  ScalarType,
  toBinary,
} from "@bufbuild/protobuf";
import { WireType } from "@bufbuild/protobuf/wire";
import { isDelimited, isJson, isUnwrapped } from "./field.js";
import { Output } from "./output.js";
import { wireTypeOf, zeroOfScalar } from "./scalar.js";
import { scalarWriter } from "./scalar-writers.js";
import { structOf } from "./struct.js";
import type { Values } from "./zero.js";

/** How a message is serialized. */
export interface EncodeOptions {
  /**
   * Lets small messages share a buffer of some KiB: an allocation for each takes longer than to
   * write it. For bytes that are sent soon, and not transferred to another thread. Default:
   * false, the bytes have memory of their own.
   */
  readonly shareMemory?: boolean | undefined;
}

/**
 * Serializes a message, as `toBinary` does; or what `create` makes a message from, as
 * `toBinary(schema, create(schema, init))` does, without making the message.
 *
 * Throws what protobuf-es throws: an Error that names the field whose value is of a wrong
 * type, or that is required and not set.
 */
export function encode<D extends DescMessage>(
  schema: D,
  message: MessageInitShape<D>,
  options?: EncodeOptions,
): Uint8Array {
  // `create` refuses null, but not within a message.
  if (!protoInt64.supported || message === null) {
    return toBinary(schema, create(schema, message));
  }
  const out = spare ?? new Output();
  spare = undefined;
  try {
    encoderOf(schema).write(out, message, true);
  } catch (error) {
    refuse(schema, message);
    throw error;
  }
  const bytes = options?.shareMemory ? out.finishShared() : out.finish();
  spare = out;
  return bytes;
}

/** The output that the next message is written into, while none is being written. */
let spare: Output | undefined;

/** Throws the error of protobuf-es for a message that could not be written, if it has one. */
function refuse<D extends DescMessage>(schema: D, message: MessageInitShape<D>): void {
  const plain = typeof message === "object" && !isMessage(message);
  toBinary(schema, plain ? create(schema, message) : (message as Message as never));
}

/** Writes a field of a message, with its tag, if it is set. */
type WriteField = (out: Output, message: Values) => void;

const encoders = new WeakMap<DescMessage, Encoder>();

function encoderOf(schema: DescMessage): Encoder {
  let encoder = encoders.get(schema);
  if (!encoder) {
    encoder = new Encoder(schema);
    encoders.set(schema, encoder);
  }
  return encoder;
}

/** Writes messages of one type. Its fields are compiled when the first is written. */
class Encoder {
  private readonly schema: DescMessage;
  private readonly typeName: string;
  private ofMessage: readonly WriteField[] | undefined;
  private ofInit: readonly WriteField[] | undefined;
  /** How many bytes the length of the last message had that was written within another one. */
  private width = 1;

  constructor(schema: DescMessage) {
    this.schema = schema;
    this.typeName = schema.typeName;
  }

  /** Writes a message, or, when that is allowed, what it can be made from. */
  write(out: Output, value: unknown, init: boolean): void {
    if (typeof value === "object" && value !== null) {
      const { $typeName: typeName, $unknown: unknown } = value as Message;
      if (typeName === this.typeName) {
        this.ofMessage ??= compile(this.schema, false);
        writeAll(this.ofMessage, out, value as Values);
        if (unknown) {
          for (const { no, wireType, data } of unknown) {
            out.uint32(((no << 3) | wireType) >>> 0);
            out.raw(data);
          }
        }
        return;
      }
      if (init && typeof typeName !== "string" && !Array.isArray(value)) {
        this.ofInit ??= compile(this.schema, true);
        writeAll(this.ofInit, out, value as Values);
        return;
      }
    }
    // No value is a message without a field; anything else protobuf-es refuses.
    out.raw(toBinary(this.schema, value as never));
  }

  /** Writes a message with its length in front. */
  writeDelimited(out: Output, value: unknown, init: boolean): void {
    const { width } = this;
    const start = out.open(width);
    const before = out.inserted;
    this.write(out, value, init);
    this.width = out.close(start, before, width);
  }
}

function writeAll(fields: readonly WriteField[], out: Output, message: Values): void {
  for (let i = 0; i < fields.length; i++) {
    (fields[i] as WriteField)(out, message);
  }
}

/** Writers of the fields, in the order of their numbers. */
function compile(schema: DescMessage, init: boolean): readonly WriteField[] {
  const writers: WriteField[] = [];
  const fields = [...schema.fields].sort((a, b) => a.number - b.number);
  for (let i = 0; i < fields.length; i++) {
    const field = fields[i] as DescField;
    const { oneof } = field;
    if (!oneof) {
      writers.push(memberWriter(field, init));
      continue;
    }
    // Fields of a oneof that follow each other need one look at which of them is set.
    const group: DescField[] = [field];
    while (isIn(oneof, fields[i + 1])) {
      i++;
      group.push(fields[i] as DescField);
    }
    writers.push(oneofWriter(oneof, group, init));
  }
  return writers;
}

function isIn(oneof: DescOneof, field: DescField | undefined): boolean {
  return field?.oneof === oneof;
}

function oneofWriter(oneof: DescOneof, fields: DescField[], init: boolean): WriteField {
  const { localName } = oneof;
  const writers = new Map<unknown, WriteValue>();
  for (const field of fields) {
    const write = valueWriter(field, init);
    const fallback = field.scalar === undefined ? firstOfEnum(field) : zeroOfScalar(field.scalar);
    writers.set(field.localName, (out, value) =>
      write(out, value === undefined || (value === null && field.enum) ? fallback : value),
    );
  }
  return (out, message) => {
    const chosen = message[localName] as { case?: unknown; value?: unknown };
    if (init && (chosen === undefined || chosen === null)) {
      return;
    }
    const write = writers.get(chosen.case);
    if (write !== undefined) {
      write(out, chosen.value);
    }
  };
}

/** Writes a value with its tag. */
type WriteValue = (out: Output, value: unknown) => void;

const hasOwn = Object.prototype.hasOwnProperty;

function memberWriter(field: DescField, init: boolean): WriteField {
  switch (field.fieldKind) {
    case "list":
      return manyWriter(field, init, listWriter, Array.isArray);
    case "map":
      return manyWriter(field, init, mapWriter, isObject);
  }
  const write = valueWriter(field, init);
  if (field.presence === implicitPresence) {
    return implicitWriter(field, write, init);
  }
  const { localName } = field;
  const required = field.presence === requiredPresence;
  const first = firstOfEnum(field);
  return (out, message) => {
    const value = message[localName];
    if (
      init
        ? value !== undefined && value !== null
        : value !== undefined && hasOwn.call(message, localName)
    ) {
      write(out, value === null && first !== undefined ? first : value);
    } else if (required) {
      throw new Error(`${field.toString()} is required, and not set`);
    }
  };
}

/** Features.FieldPresence: google/protobuf/descriptor.proto. */
const implicitPresence = 2;
const requiredPresence = 3;

function implicitWriter(field: DescField, write: WriteValue, init: boolean): WriteField {
  const { localName } = field;
  const scalar = field.scalar;
  const zero = scalar === undefined ? firstOfEnum(field) : zeroOfScalar(scalar);
  const isZero = zeroTest(scalar, zero, init);
  return (out, message) => {
    const value = message[localName];
    if (value === undefined || value === null) {
      if (init) {
        return;
      }
      write(out, value === undefined || scalar === undefined ? zero : value);
    } else if (!isZero(value)) {
      write(out, value);
    }
  };
}

function zeroTest(
  scalar: ScalarType | undefined,
  zero: unknown,
  init: boolean,
): (value: unknown) => boolean {
  switch (scalar) {
    case undefined:
    case ScalarType.STRING:
    case ScalarType.BOOL:
      return (value) => value === zero;
    case ScalarType.BYTES:
      // Where a message is made, an array becomes bytes first.
      return (value) =>
        (value instanceof Uint8Array || (init && Array.isArray(value))) && value.length === 0;
    case ScalarType.FLOAT:
    case ScalarType.DOUBLE:
      return (value) => Object.is(value, 0);
    default:
      // biome-ignore lint/suspicious/noDoubleEquals: 0n and "0" are zeros as well.
      return (value) => value === 0 || (typeof value !== "number" && value == 0);
  }
}

function firstOfEnum({ enum: type }: DescField): number | undefined {
  return type?.values[0]?.number;
}

/** The writer of a value of a field, or of an item of its list. */
function valueWriter(field: DescField, init: boolean): WriteValue {
  if (field.message) {
    return messageWriter(field, init);
  }
  const write = scalarWriter(field.scalar ?? ScalarType.INT32);
  const tag = tagOf(field.number, wireTypeOf(field.scalar));
  if (init && field.scalar === ScalarType.BYTES) {
    return (out, value) => {
      out.uint32(tag);
      write(out, bytesOf(value), field);
    };
  }
  return (out, value) => {
    out.uint32(tag);
    write(out, value, field);
  };
}

function messageWriter(field: DescField, init: boolean): WriteValue {
  const schema = field.message as DescMessage;
  const { number } = field;
  const encoder = encoderOf(schema);
  if (isDelimited(field)) {
    const [start, end] = [tagOf(number, WireType.StartGroup), tagOf(number, WireType.EndGroup)];
    const body = bodyWriter(field, init, (out, value, mayBeInit) =>
      encoder.write(out, value, mayBeInit),
    );
    return (out, value) => {
      out.uint32(start);
      body(out, value);
      out.uint32(end);
    };
  }
  const tag = tagOf(number, WireType.LengthDelimited);
  const body = bodyWriter(field, init, (out, value, mayBeInit) =>
    encoder.writeDelimited(out, value, mayBeInit),
  );
  return (out, value) => {
    out.uint32(tag);
    body(out, value);
  };
}

/** Unwraps what protobuf-es keeps in another form than a message: wrappers and Struct. */
function bodyWriter(
  field: DescField,
  init: boolean,
  write: (out: Output, value: unknown, init: boolean) => void,
): WriteValue {
  const { typeName, fields } = field.message as DescMessage;
  if (isUnwrapped(field)) {
    const isBytes = fields[0]?.scalar === ScalarType.BYTES;
    return (out, value) => {
      const inner = init && isBytes ? bytesOf(value) : value;
      write(out, { $typeName: typeName, value: inner }, false);
    };
  }
  if (isJson(field)) {
    return (out, value) => {
      write(out, isObject(value) ? structOf(value) : value, false);
    };
  }
  return (out, value) => write(out, value, init);
}

/** An object that is no list or map is no init either, for protobuf-es: it holds messages. */
function manyWriter(
  field: DescField,
  init: boolean,
  writer: (field: DescField, init: boolean) => WriteField,
  isInit: (value: unknown) => boolean,
): WriteField {
  const write = writer(field, false);
  if (!init) {
    return write;
  }
  const { localName } = field;
  const writeInit = writer(field, true);
  return (out, message) => {
    const value = message[localName];
    if (value !== undefined && value !== null) {
      (isInit(value) ? writeInit : write)(out, message);
    }
  };
}

function listWriter(field: DescField, init: boolean): WriteField {
  const { localName } = field;
  const items = (message: Values) => {
    const list = message[localName] as unknown[];
    if (!(list.length > 0)) {
      return none;
    }
    return Array.isArray(list) ? list : [...(list as Iterable<unknown>)];
  };
  if (field.fieldKind === "list" && field.packed) {
    const write = scalarWriter(field.scalar ?? ScalarType.INT32);
    const tag = tagOf(field.number, WireType.LengthDelimited);
    let width = 1;
    return (out, message) => {
      const list = items(message);
      if (list.length === 0) {
        return;
      }
      out.uint32(tag);
      // A getter of the list may write another one meanwhile.
      const guess = width;
      const start = out.open(guess);
      const before = out.inserted;
      for (let i = 0; i < list.length; i++) {
        write(out, list[i], field);
      }
      width = out.close(start, before, guess);
    };
  }
  const write = valueWriter(field, init);
  return (out, message) => {
    const list = items(message);
    for (let i = 0; i < list.length; i++) {
      write(out, list[i]);
    }
  };
}

const none: readonly unknown[] = [];

function mapWriter(field: DescField, init: boolean): WriteField {
  if (field.fieldKind !== "map") {
    throw new TypeError();
  }
  const { localName, mapKey } = field;
  const tag = tagOf(field.number, WireType.LengthDelimited);
  const keyTag = tagOf(1, wireTypeOf(mapKey));
  const writeKey = scalarWriter(mapKey);
  const keyOf = keyReader(mapKey);
  // The value is field 2 of the entry.
  const writeValue = valueWriter({ ...field, number: 2 } as DescField, init);
  // A value that protobuf-es converts goes through an object on which this key is no property.
  const converts = init && (field.scalar === ScalarType.BYTES || field.message !== undefined);
  let lastWidth = 1;
  return (out, message) => {
    const map = message[localName] as Values;
    const keys = Object.keys(map);
    for (let i = 0; i < keys.length; i++) {
      const key = keys[i] as string;
      if (converts && key === "__proto__") {
        continue;
      }
      out.uint32(tag);
      // Entries may be within each other.
      const width = lastWidth;
      const start = out.open(width);
      const before = out.inserted;
      out.uint32(keyTag);
      writeKey(out, keyOf === undefined ? key : keyOf(key), field);
      writeValue(out, map[key]);
      lastWidth = out.close(start, before, width);
    }
  };
}

/** The key of a map that the key of an object stands for; undefined where it is the same. */
function keyReader(type: ScalarType): ((key: string) => unknown) | undefined {
  switch (type) {
    case ScalarType.STRING:
      return undefined;
    case ScalarType.BOOL:
      return (key) => (key === "false" ? false : key);
    case ScalarType.INT32:
    case ScalarType.SINT32:
    case ScalarType.SFIXED32:
    case ScalarType.UINT32:
    case ScalarType.FIXED32:
      return (key) => {
        const number = Number.parseInt(key, 10);
        return Number.isFinite(number) ? number : key;
      };
    default:
      return bigintOf;
  }
}

function bigintOf(key: string): unknown {
  try {
    return BigInt(key);
  } catch {
    return key;
  }
}

function isObject(value: unknown): value is Values {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** An array of numbers is taken where a message is made, as `create` does. */
function bytesOf(value: unknown): unknown {
  return Array.isArray(value) ? new Uint8Array(value) : value;
}

function tagOf(number: number, wireType: WireType): number {
  return ((number << 3) | wireType) >>> 0;
}
