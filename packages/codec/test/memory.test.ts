import { execFileSync } from "node:child_process";
import { create, toBinary } from "@bufbuild/protobuf";
import { AnySchema, UninterpretedOptionSchema } from "@bufbuild/protobuf/wkt";
import { expect, test } from "vitest";
import { encode } from "../src/index.js";

// The library of ES2022 does not know it; Node 20 has it.
const ResizableBuffer = ArrayBuffer as unknown as new (
  size: number,
  options: { maxByteLength: number },
) => ArrayBuffer & { resize(size: number): void };

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

test("bytes that shrink while their message is written leave no foreign memory in it", () => {
  const buffer = new ResizableBuffer(100_000, { maxByteLength: 100_000 });
  const init = {
    stringValue: new Uint8Array(buffer),
    // A field that is written later.
    get aggregateValue() {
      buffer.resize(50_000);
      return "later";
    },
  };
  expect(() => encode(UninterpretedOptionSchema, init)).toThrow("changed while");
  expect(encode(AnySchema, message(5_000))).toEqual(toBinary(AnySchema, message(5_000)));
});

test("a page whose Buffer lacks functions of Node's encodes large bytes", () => {
  const program = `
    globalThis.Buffer = { isBuffer: () => false };
    const { encode } = await import("@jetrpc/codec");
    const { AnySchema } = await import("@bufbuild/protobuf/wkt");
    console.log(encode(AnySchema, { value: new Uint8Array(5_000) }).length);`;
  const options = { cwd: import.meta.dirname, encoding: "utf8" } as const;
  const said = execFileSync("node", ["--input-type=module", "-e", program], options);
  expect(said.trim()).toBe("5003");
});
