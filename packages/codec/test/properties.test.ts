import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import fc from "fast-check";
import { expect, test } from "vitest";
import { parse } from "../src/decode.js";
import { encode } from "../src/encode.js";
import { difference } from "./same.js";
import { type Choice, oneOf, someSchemas } from "./schemas.js";
import { someInit } from "./values.js";

/** Numbers of fast-check, which looks for the smallest that fail. */
function property(check: (choice: Choice) => void): void {
  fc.assert(
    fc.property(fc.gen(), (g) => {
      check({ int: (min, max) => g(fc.integer, { min, max }) });
    }),
    { numRuns: 500 },
  );
}

/** The bytes that are written, or the error. */
function outcome(write: () => Uint8Array): string {
  try {
    return Buffer.from(write()).toString("hex");
  } catch (error) {
    return `throws ${error}`;
  }
}

test("a message of any type has the bytes that protobuf-es writes", () => {
  property((choice) => {
    const schema = oneOf(choice, someSchemas(choice));
    const init = someInit(choice, schema);
    const message = create(schema, init);
    const expected = outcome(() => toBinary(schema, message));
    expect(outcome(() => encode(schema, message))).toBe(expected);
    expect(outcome(() => encode(schema, init))).toBe(expected);
  });
});

test("bytes are the message that protobuf-es reads", () => {
  property((choice) => {
    const schema = oneOf(choice, someSchemas(choice));
    const message = create(schema, someInit(choice, schema));
    fc.pre(!outcome(() => toBinary(schema, message)).startsWith("throws"));
    const bytes = toBinary(schema, message);
    expect(difference(parse(schema, bytes, false), fromBinary(schema, bytes))).toBeUndefined();
    expect(difference(parse(schema, bytes, true), fromBinary(schema, bytes))).toBeUndefined();
  });
});
