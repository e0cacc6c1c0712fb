import { create, toBinary } from "@bufbuild/protobuf";
import { AnySchema } from "@bufbuild/protobuf/wkt";
import { expect, test } from "vitest";
import { encode } from "../src/index.js";

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
