import { create, fromBinary, isMessage, type Message, toBinary } from "@bufbuild/protobuf";
import {
  BytesValueSchema,
  FieldDescriptorProtoSchema,
  ListValueSchema,
  SourceCodeInfo_LocationSchema,
  StringValueSchema,
  StructSchema,
  TimestampSchema,
  UninterpretedOptionSchema,
  ValueSchema,
} from "@bufbuild/protobuf/wkt";
import { expect, test } from "vitest";
import { decode, encode } from "../src/index.js";

const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString("hex");

test("a message of another type is refused, where it is given and within", () => {
  const timestamp = create(TimestampSchema, { seconds: 7n });
  expect(() => encode(StringValueSchema, timestamp as never)).toThrow(
    "cannot use field google.protobuf.StringValue.value with message google.protobuf.Timestamp",
  );
  // `create` would take its fields of the same names, and lose the rest.
  expect(() => encode(ListValueSchema, { values: [timestamp as never] })).toThrow(
    "with message google.protobuf.Timestamp",
  );
});

test("bytes are no array of larger numbers, of which protobuf-es would write a part", () => {
  const value = new Float64Array(3) as unknown as Uint8Array<ArrayBuffer>;
  expect(() => encode(BytesValueSchema, { value })).toThrow("google.protobuf.BytesValue.value");
});

test("what a getter writes meanwhile is another message", () => {
  const init = {
    get seconds() {
      return BigInt(encode(StringValueSchema, { value: "x".repeat(9) }).length);
    },
    nanos: 5,
  };
  expect(decode(TimestampSchema, encode(TimestampSchema, init))).toMatchObject({
    seconds: 11n,
    nanos: 5,
  });
});

test("a list whose getter writes the same type is whole", () => {
  const path = [1, 2, 3];
  Object.defineProperty(path, 1, {
    get: () => encode(SourceCodeInfo_LocationSchema, { path: Array(200).fill(300) }).length && 2,
  });
  expect(hex(encode(SourceCodeInfo_LocationSchema, { path }))).toBe("0a03010203");
});

test("null, and bytes that were transferred, are refused", () => {
  expect(() => encode(StringValueSchema, null as never)).toThrow();
  const data = new Uint8Array(9);
  structuredClone(data, { transfer: [data.buffer] });
  expect(() => encode(UninterpretedOptionSchema, { stringValue: data })).toThrow(/detached/);
});

test("a message after one that was refused is whole", () => {
  expect(() => encode(TimestampSchema, { seconds: 1n, nanos: 0.5 })).toThrow(
    "cannot encode field google.protobuf.Timestamp.nanos",
  );
  expect(hex(encode(TimestampSchema, { seconds: 1n }))).toBe("0801");
});

test("bytes are parts of the input, or copies where that is asked for", () => {
  const unknown = Buffer.from("1a026869", "hex");
  const input = new Uint8Array([
    ...encode(BytesValueSchema, { value: Buffer.from("abc") }),
    ...unknown,
  ]);
  const parts = decode(BytesValueSchema, input);
  expect(parts.value.buffer).toBe(input.buffer);
  const copies = decode(BytesValueSchema, input, { copyBytes: true });
  input.fill(0);
  expect(hex(copies.value)).toBe(hex(Buffer.from("abc")));
  expect(copies.value.buffer.byteLength).toBe(3);
  expect(hex(copies.$unknown?.[0]?.data as Uint8Array)).toBe("026869");
  expect(copies.$unknown?.[0]?.data.buffer.byteLength).toBe(3);
});

test("each message has an array of its own where it has no bytes", () => {
  const [a, b] = [0, 1].map(() => decode(BytesValueSchema, new Uint8Array(0)));
  expect(a?.value).not.toBe(b?.value);
  expect(a?.value.buffer).not.toBe(b?.value.buffer);
});

test("large bytes are in their place, however deep, and whatever their length takes", () => {
  for (const size of [126, 127, 128, 2047, 2048, 16_383, 16_384, 70_000, 2_100_000]) {
    const text = (length: number) => ({
      kind: { case: "stringValue" as const, value: "x".repeat(length) },
    });
    const message = create(ListValueSchema, {
      values: [
        text(3),
        { kind: { case: "listValue", value: { values: [text(size), text(2), text(size)] } } },
        text(5),
      ],
    });
    expect(
      Buffer.compare(encode(ListValueSchema, message), toBinary(ListValueSchema, message)),
    ).toBe(0);
  }
});

test("messages within each other are read 100 deep, and written deeper", () => {
  let message = create(ValueSchema, { kind: { case: "boolValue", value: true } });
  const within = (inner: typeof message) =>
    create(ValueSchema, { kind: { case: "listValue", value: { values: [inner] } } });
  for (let depth = 1; depth < 99; depth += 2) {
    message = within(message);
  }
  // 99 deep: a Value, and a ListValue with one, 49 times.
  expect(decode(ValueSchema, encode(ValueSchema, message))).toEqual(message);
  const deeper = encode(ValueSchema, within(message));
  expect(() => decode(ValueSchema, deeper)).toThrow("maximum recursion depth of 100");
});

test("a message that is read is one of protobuf-es", () => {
  const message = decode(StructSchema, encode(StructSchema, { fields: {} }));
  expect(isMessage(message, StructSchema)).toBe(true);
  // The prototype has the defaults of proto2.
  const field = decode(FieldDescriptorProtoSchema, new Uint8Array(0));
  expect(Object.getPrototypeOf(field)).toBe(
    Object.getPrototypeOf(create(FieldDescriptorProtoSchema)),
  );
  expect(Object.keys(field)).toEqual(Object.keys(create(FieldDescriptorProtoSchema)));
});

/** As protobuf's conformance suite puts them to `TestAllTypes`: bytes of google.protobuf.Value and others. */
const malformed = {
  "a tag that ends": "ff",
  "field number 0": "0001",
  "wire type 6": "0e",
  "a varint of 11 bytes": "08ffffffffffffffffffff01",
  "a varint that ends": "08ff",
  "a length beyond the end": "1a05616263",
  "a length of 4 GiB": "1affffffff0f",
  "a double that ends": "1100000000",
  "an end of a group that did not begin": "0c",
  "an unknown group that does not end": "5b0801",
  "an unknown group that ends as another one": "5b64",
  "text that is no UTF-8": "1a01ff",
};

test.each(Object.entries(malformed))("%s is refused, with the error of protobuf-es", (_, text) => {
  const bytes = Buffer.from(text, "hex");
  const error = (read: () => Message): string => {
    try {
      return `read ${JSON.stringify(read())}`;
    } catch (thrown) {
      return String(thrown);
    }
  };
  const ours = error(() => decode(ValueSchema, bytes));
  expect(ours).not.toMatch(/^read/);
  expect(ours).toBe(error(() => fromBinary(ValueSchema, bytes)));
});
