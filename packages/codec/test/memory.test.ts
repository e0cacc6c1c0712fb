import { create, toBinary } from "@bufbuild/protobuf";
import { AnySchema } from "@bufbuild/protobuf/wkt";
import { expect, test } from "vitest";
import { decode, encode } from "../src/index.js";

const message = (size: number, fill = 7) =>
  create(AnySchema, { typeUrl: "a/b", value: new Uint8Array(size).fill(fill) });

test("small messages that share a buffer keep their bytes, whatever is written after them", () => {
  const sizes = Array.from({ length: 2_000 }, (_, i) => (i % 50 === 0 ? i * 20 : i % 300));
  const all = sizes.map((size, i) => encode(AnySchema, message(size, i), { shareMemory: true }));
  for (const [i, size] of sizes.entries()) {
    expect(Buffer.compare(all[i] as Uint8Array, toBinary(AnySchema, message(size, i)))).toBe(0);
  }
  const buffers = new Set(all.map(({ buffer }) => buffer));
  expect(buffers.size).toBeLessThan(200);
  // Nobody keeps much for little.
  for (const { length, buffer } of all) {
    expect(length === buffer.byteLength || buffer.byteLength <= 16 * 1024).toBe(true);
  }
});

test("bytes have memory of their own unless it is asked for less", () => {
  const [one, two] = [encode(AnySchema, message(10)), encode(AnySchema, message(10))];
  expect(one.buffer).not.toBe(two.buffer);
  expect(one.buffer.byteLength).toBe(one.length);
});

test("only a field that takes more than half of the input may stay a part of it", () => {
  // Field 100 is unknown to the type.
  const unknown = new Uint8Array([0xa2, 0x06, 3, 1, 2, 3]);
  for (const [size, stays] of [
    [1_000, true],
    [4, false],
  ] as const) {
    const input = new Uint8Array([...toBinary(AnySchema, message(size)), ...unknown]);
    const { value, $unknown = [] } = decode(AnySchema, input, { copyBytes: "small" });
    expect(value.buffer === input.buffer).toBe(stays);
    expect(value).toEqual(message(size).value);
    expect($unknown.map(({ data }) => data.buffer === input.buffer)).toEqual([false]);
    const own = decode(AnySchema, input, { copyBytes: true });
    expect(own.value.buffer).not.toBe(input.buffer);
  }
});
