import {
  type DescField,
  type DescMessage,
  fromBinary,
  type Message,
  type MessageShape,
  protoInt64,
  ScalarType,
} from "@bufbuild/protobuf";
import { WireType } from "@bufbuild/protobuf/wire";
import type { Struct } from "@bufbuild/protobuf/wkt";
import { isDelimited, isJson, isUnwrapped } from "./field.js";
import { Input, malformed } from "./input.js";
import { Output } from "./output.js";
import { zeroOfScalar } from "./scalar.js";
import { jsonOf, structOf } from "./struct.js";
import { noBytes, type Values, type Zero, zeroOf } from "./zero.js";

/** How a message is parsed. */
export interface DecodeOptions {
  /**
   * Gives fields of bytes, and fields that the schema does not have, memory of their own.
   * False by default: they are parts of the input then, as `fromBinary` leaves them.
   */
  readonly copyBytes?: boolean | undefined;
}

/** Parses a message, as `fromBinary` does. Throws what protobuf-es throws for malformed bytes. */
export function decode<D extends DescMessage>(
  schema: D,
  bytes: Uint8Array,
  options?: DecodeOptions,
): MessageShape<D> {
  const copyBytes = options?.copyBytes ?? false;
  if (!protoInt64.supported) {
    return fromBinary(schema, copyBytes ? new Uint8Array(bytes) : bytes);
  }
  try {
    return parse(schema, bytes, copyBytes);
  } catch {
    // It says what is wrong in the words that its users know, and it has the last word.
    return fromBinary(schema, copyBytes ? new Uint8Array(bytes) : bytes);
  }
}

/** Parses a message. Throws an error for malformed bytes that says little. */
export function parse<D extends DescMessage>(
  schema: D,
  bytes: Uint8Array,
  copyBytes: boolean,
): MessageShape<D> {
  const decoder = decoderOf(schema);
  const message = decoder.make();
  decoder.read(new Input(bytes, copyBytes), message, bytes.length);
  return message as MessageShape<D>;
}

/** Reads a value of a field into a message. */
type ReadField = (input: Input, message: Values, wireType: number) => void;

const decoders = new WeakMap<DescMessage, Decoder>();

function decoderOf(schema: DescMessage): Decoder {
  let decoder = decoders.get(schema);
  if (!decoder) {
    decoder = new Decoder(schema);
    decoders.set(schema, decoder);
  }
  return decoder;
}

/** Reads messages of one type. Its fields are compiled when the first is read. */
class Decoder {
  readonly schema: DescMessage;
  private zero: Zero | undefined;
  /** By the number of the field: the low ones in an array. */
  private low: (ReadField | undefined)[] = [];
  private high = new Map<number, ReadField>();

  constructor(schema: DescMessage) {
    this.schema = schema;
  }

  /** A message without a field. */
  make(): Values {
    this.zero ??= this.compile();
    return this.zero.make();
  }

  private compile(): Zero {
    const most = 255;
    const highest = Math.max(0, ...this.schema.fields.map(({ number }) => number));
    this.low = new Array(Math.min(highest, most) + 1).fill(undefined);
    for (const field of this.schema.fields) {
      const read = fieldReader(field);
      if (field.number <= most) {
        this.low[field.number] = read;
      } else {
        this.high.set(field.number, read);
      }
    }
    return zeroOf(this.schema);
  }

  /** Reads fields until a position, or, when that is 0, until the end of the group `number`. */
  read(input: Input, message: Values, end: number, number = 0): void {
    if (input.depth-- <= 0) {
      throw malformed("depth");
    }
    const isGroup = number !== 0;
    const to = isGroup ? input.bytes.length : end;
    let unknown = (message as unknown as Message).$unknown;
    let added = false;
    let ended = false;
    while (input.at < to) {
      const tag = input.tag();
      const no = tag >>> 3;
      const wireType = tag & 7;
      if (isGroup && wireType === WireType.EndGroup) {
        if (no !== number) {
          throw malformed("end of group");
        }
        ended = true;
        break;
      }
      const read = no < this.low.length ? this.low[no] : this.high.get(no);
      if (read !== undefined) {
        read(input, message, wireType);
      } else {
        unknown ??= [];
        added = true;
        unknown.push({ no, wireType, data: input.unknown(tag, input.depth) });
      }
    }
    if (isGroup && !ended) {
      throw malformed("end of group");
    }
    if (added) {
      (message as unknown as Message).$unknown = unknown;
    }
    for (const name of this.zero?.bytes ?? []) {
      if (message[name] === noBytes) {
        message[name] = new Uint8Array(0);
      }
    }
    input.depth++;
  }
}

type ReadScalar = (input: Input) => unknown;

function scalarReader(type: ScalarType, strict: boolean, asString: boolean): ReadScalar {
  switch (type) {
    case ScalarType.STRING:
      return (input) => input.text(strict);
    case ScalarType.BYTES:
      return (input) => input.blob();
    case ScalarType.BOOL:
      return (input) => input.bool();
    case ScalarType.INT32:
      return (input) => input.uint32() | 0;
    case ScalarType.UINT32:
      return (input) => input.uint32();
    case ScalarType.SINT32:
      return (input) => {
        const value = input.uint32();
        return (value >>> 1) ^ -(value & 1);
      };
    case ScalarType.FIXED32:
      return (input) => input.fixed32();
    case ScalarType.SFIXED32:
      return (input) => input.sfixed32();
    case ScalarType.FLOAT:
      return (input) => input.float();
    case ScalarType.DOUBLE:
      return (input) => input.double();
    case ScalarType.INT64:
      return asString ? (input) => String(input.int64()) : (input) => input.int64();
    case ScalarType.UINT64:
      return asString ? (input) => String(input.uint64()) : (input) => input.uint64();
    case ScalarType.SINT64:
      return asString ? (input) => String(input.sint64()) : (input) => input.sint64();
    case ScalarType.FIXED64:
      return asString ? (input) => String(input.fixed64()) : (input) => input.fixed64();
    case ScalarType.SFIXED64:
      return asString ? (input) => String(input.sfixed64()) : (input) => input.sfixed64();
  }
}

function fieldReader(field: DescField): ReadField {
  switch (field.fieldKind) {
    case "list":
      return listReader(field);
    case "map":
      return mapReader(field);
    case "message":
      return messageFieldReader(field);
    case "enum":
      return enumReader(field);
    case "scalar": {
      const read = scalarReader(field.scalar, field.utf8Validation, field.longAsString);
      const { localName, oneof } = field;
      if (oneof) {
        const name = oneof.localName;
        return (input, message) => {
          message[name] = { case: localName, value: read(input) };
        };
      }
      return (input, message) => {
        message[localName] = read(input);
      };
    }
  }
}

function enumReader(field: DescField & { fieldKind: "enum" }): ReadField {
  const { localName, oneof, number } = field;
  const known = field.enum.open ? undefined : new Set(field.enum.values.map((v) => v.number));
  const name = oneof?.localName;
  return (input, message, wireType) => {
    const value = input.uint32() | 0;
    if (known !== undefined && !known.has(value)) {
      keep(message, number, wireType, value);
    } else if (name === undefined) {
      message[localName] = value;
    } else {
      message[name] = { case: localName, value };
    }
  };
}

/** Keeps the value of an enum that has no such value. */
function keep(message: Values, no: number, wireType: number, value: number): void {
  const out = new Output(16);
  out.int32(value);
  const target = message as unknown as Message;
  target.$unknown ??= [];
  target.$unknown.push({ no, wireType, data: out.finish() });
}

/** Reads a message, into the one that is there. */
type ReadMessage = (input: Input, into: unknown) => unknown;

function messageReader(field: DescField): ReadMessage {
  const schema = field.message as DescMessage;
  const decoder = decoderOf(schema);
  const group = isDelimited(field) ? field.number : 0;
  const read = (input: Input, into: Values | undefined): Values => {
    const message = into ?? decoder.make();
    if (group !== 0) {
      decoder.read(input, message, 0, group);
    } else {
      const length = input.uint32();
      decoder.read(input, message, input.at + length);
    }
    return message;
  };
  if (isUnwrapped(field)) {
    return (input, into) => {
      const wrapper = decoder.make();
      if (into !== undefined) {
        wrapper["value"] = into;
      }
      return read(input, wrapper)["value"];
    };
  }
  if (isJson(field)) {
    return (input, into) => {
      const struct = into === undefined ? undefined : structOf(into as Values);
      return jsonOf(read(input, struct as unknown as Values) as unknown as Struct);
    };
  }
  return read as ReadMessage;
}

function messageFieldReader(field: DescField & { fieldKind: "message" }): ReadField {
  const { localName, oneof } = field;
  const read = messageReader(field);
  if (!oneof) {
    return (input, message) => {
      message[localName] = read(input, message[localName]);
    };
  }
  const name = oneof.localName;
  return (input, message) => {
    const chosen = message[name] as { case?: string; value?: unknown };
    const into = chosen.case === localName ? chosen.value : undefined;
    message[name] = { case: localName, value: read(input, into) };
  };
}

function listReader(field: DescField & { fieldKind: "list" }): ReadField {
  const { localName } = field;
  if (field.message) {
    const read = messageReader(field);
    return (input, message) => {
      (message[localName] as unknown[]).push(read(input, undefined));
    };
  }
  const type = field.scalar ?? ScalarType.INT32;
  const asString = field.listKind === "scalar" && field.longAsString;
  const read = scalarReader(type, field.utf8Validation, asString);
  const packable = type !== ScalarType.STRING && type !== ScalarType.BYTES;
  return (input, message, wireType) => {
    const list = message[localName] as unknown[];
    if (!packable || wireType !== WireType.LengthDelimited) {
      list.push(read(input));
      return;
    }
    const length = input.uint32();
    const end = input.at + length;
    while (input.at < end) {
      list.push(read(input));
    }
  };
}

function mapReader(field: DescField & { fieldKind: "map" }): ReadField {
  const { localName } = field;
  const readKey = scalarReader(field.mapKey, field.utf8Validation, true);
  const noKey = keyWithout(field.mapKey);
  const [readValue, noValue] = mapValue(field);
  return (input, message) => {
    const map = message[localName] as Values;
    const length = input.uint32();
    const end = input.at + length;
    let key: unknown;
    let value: unknown;
    while (input.at < end) {
      // Fields of an entry other than these two are not skipped, as in protobuf-es: what
      // they hold is read as fields.
      const no = input.tag() >>> 3;
      if (no === 1) {
        key = readKey(input);
      } else if (no === 2) {
        value = readValue(input);
      }
    }
    map[key === undefined ? noKey : String(key)] = value === undefined ? noValue() : value;
  };
}

function keyWithout(type: ScalarType): string {
  return type === ScalarType.STRING ? "" : type === ScalarType.BOOL ? "false" : "0";
}

function mapValue(field: DescField & { fieldKind: "map" }): [ReadScalar, () => unknown] {
  switch (field.mapKind) {
    case "message": {
      const read = messageReader(field);
      return [(input) => read(input, undefined), () => read(new Input(empty, false), undefined)];
    }
    case "enum": {
      const first = field.enum.values[0]?.number ?? 0;
      return [(input) => input.uint32() | 0, () => first];
    }
    default: {
      const { scalar } = field;
      return [scalarReader(scalar, field.utf8Validation, false), () => zeroOfScalar(scalar)];
    }
  }
}

/** A message without a field, with its length in front. */
const empty = new Uint8Array([0]);
