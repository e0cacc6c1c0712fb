import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { EmptySchema, StringValueSchema } from "@bufbuild/protobuf/wkt";
import fc from "fast-check";
import { expect, test } from "vitest";
import { runs } from "../../../test/property-runs.js";
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
    runs(500),
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

/** Values that fields do not have, or that protobuf-es takes although types do not allow them. */
const odd: readonly unknown[] = [
  undefined,
  null,
  "",
  "5",
  "-7",
  "0x10",
  "text",
  0,
  -0,
  1.5,
  NaN,
  2 ** 31,
  2 ** 40,
  -(2 ** 60),
  true,
  false,
  5n,
  -5n,
  2n ** 70n,
  [],
  [1],
  ["a"],
  [undefined],
  [null],
  [{}],
  new Array(2),
  {},
  { a: 1 },
  { a: null },
  { case: undefined },
  { case: "f0" },
  { case: "f1", value: null },
  { value: 1 },
  new Uint8Array(0),
  new Uint8Array(3),
  new Int8Array(2),
  () => 1,
  Symbol("s"),
  new Date(0),
  new Map([["a", 1]]),
  new Set([1]),
];

const messages: readonly unknown[] = [
  create(StringValueSchema, { value: "wrapped" }),
  create(EmptySchema),
];

/** Puts an odd value somewhere into a message, or into what it is made from. */
function spoil(
  choice: Choice,
  target: Record<string, unknown>,
  names: string[],
  values: readonly unknown[],
): void {
  const name = oneOf(choice, [...names, ...Object.keys(target)]);
  const inner = target[name];
  const deeper = typeof inner === "object" && inner !== null && Object.keys(inner).length > 0;
  if (deeper && !(inner instanceof Uint8Array) && choice.int(0, 2) > 0) {
    spoil(choice, inner as Record<string, unknown>, [], values);
  } else if (choice.int(0, 5) === 0) {
    delete target[name];
  } else if (name !== "__proto__") {
    target[name] = oneOf(choice, values);
  }
}

test("odd values are taken or refused as protobuf-es does, with its errors", () => {
  let [taken, refused] = [0, 0];
  property((choice) => {
    const schema = oneOf(choice, someSchemas(choice));
    fc.pre(schema.members.length > 0);
    const init = someInit(choice, schema);
    const message = create(schema, init);
    const names = schema.members.map(({ localName }) => localName);
    spoil(choice, message as unknown as Record<string, unknown>, names, [...odd, ...messages]);
    // Without its type it is what a message is made from.
    fc.pre(typeof message.$typeName === "string");
    const expected = outcome(() => toBinary(schema, message));
    expect(outcome(() => encode(schema, message))).toBe(expected);
    if (expected.startsWith("throws")) {
      refused++;
    } else {
      taken++;
    }
    spoil(choice, init, names, odd);
    expect(outcome(() => encode(schema, init))).toBe(
      outcome(() => toBinary(schema, create(schema, init))),
    );
  });
  expect(Math.min(taken, refused)).toBeGreaterThan(20);
});
