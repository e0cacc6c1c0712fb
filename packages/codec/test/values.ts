import { type DescField, type DescMessage, ScalarType } from "@bufbuild/protobuf";
import { type Choice, oneOf, sometimes } from "./schemas.js";

type Values = Record<string, unknown>;

/** What a message of a type can be made from, with messages within each other so deep. */
export function someInit(choice: Choice, schema: DescMessage, depth = 3): Values {
  const init: Values = {};
  for (const member of schema.members) {
    if (member.kind === "oneof") {
      if (!sometimes(choice, 3)) {
        const field = oneOf(choice, member.fields);
        init[member.localName] = { case: field.localName, value: someValue(choice, field, depth) };
      }
      continue;
    }
    const required = member.presence === 3;
    if (!required && sometimes(choice, 4)) {
      if (sometimes(choice, 4)) {
        init[member.localName] = undefined;
      }
      continue;
    }
    const value = someMember(choice, member, depth);
    if (value !== undefined) {
      init[member.localName] = value;
    }
  }
  return init;
}

function someMember(choice: Choice, field: DescField, depth: number): unknown {
  if (field.fieldKind === "list") {
    const items = Array.from({ length: choice.int(0, sometimes(choice, 10) ? 40 : 3) }, () =>
      someValue(choice, field, depth),
    );
    return items.filter((item) => item !== undefined);
  }
  if (field.fieldKind === "map") {
    const map: Values = {};
    const count = choice.int(0, 3);
    for (let i = 0; i < count; i++) {
      const value = someValue(choice, field, depth);
      if (value !== undefined) {
        Object.defineProperty(map, someKey(choice, field.mapKey), {
          value,
          enumerable: true,
          configurable: true,
          writable: true,
        });
      }
    }
    return map;
  }
  return someValue(choice, field, depth);
}

function someKey(choice: Choice, type: ScalarType): string {
  return type === ScalarType.STRING
    ? oneOf(choice, [
        "",
        "a",
        "key",
        "ключ",
        "__proto__",
        "constructor",
        "7",
        "a-key-of-some-length",
      ])
    : String(someScalar(choice, type));
}

function someValue(choice: Choice, field: DescField, depth: number): unknown {
  if (field.enum) {
    return field.enum.open && sometimes(choice, 4)
      ? someScalar(choice, ScalarType.INT32)
      : oneOf(choice, field.enum.values).number;
  }
  if (!field.message) {
    const asString = "longAsString" in field && field.longAsString;
    const value = someScalar(choice, field.scalar as ScalarType);
    return typeof value === "bigint" && asString ? String(value) : value;
  }
  if (depth === 0) {
    return undefined;
  }
  const { typeName, fields } = field.message;
  if (typeName === "google.protobuf.Struct" && field.parent.typeName !== "google.protobuf.Value") {
    return someJsonObject(choice, depth);
  }
  const isWrapper = /^google\.protobuf\.\w+Value$/.test(typeName) && fields.length === 1;
  if (isWrapper && field.fieldKind === "message" && !field.oneof && typeName !== listValue) {
    return someValue(choice, fields[0] as DescField, depth);
  }
  return someInit(choice, field.message, depth - 1);
}

const listValue = "google.protobuf.ListValue";

function someJsonObject(choice: Choice, depth: number): Values {
  const keys = ["a", "b", "", "1", "__proto__"].filter(() => sometimes(choice, 2));
  return Object.fromEntries(keys.map((key) => [key, someJson(choice, depth - 1)]));
}

function someJson(choice: Choice, depth: number): unknown {
  const kind = choice.int(0, depth > 0 ? 6 : 4);
  switch (kind) {
    case 0:
      return null;
    case 1:
      return someScalar(choice, ScalarType.DOUBLE);
    case 2:
      return sometimes(choice, 2);
    case 3:
      return someScalar(choice, ScalarType.STRING);
    case 4:
      return undefined;
    case 5:
      return Array.from({ length: choice.int(0, 3) }, () => someJson(choice, depth - 1));
    default:
      return someJsonObject(choice, depth);
  }
}

const strings = [
  "",
  "a",
  "text",
  "Zürich",
  "日本語",
  "👍🏽",
  "\uFEFFmark",
  "\uFEFF",
  "a\uD800b",
  "\uDC00",
  "\u0000",
  "\u007f\u0080\u07ff\u0800\uffff",
];

function someScalar(choice: Choice, type: ScalarType): unknown {
  switch (type) {
    case ScalarType.STRING: {
      const text = oneOf(choice, strings);
      return sometimes(choice, 4)
        ? text.repeat(choice.int(0, sometimes(choice, 20) ? 3000 : 50)) +
            "x".repeat(choice.int(0, 3))
        : text;
    }
    case ScalarType.BYTES:
      return new Uint8Array(choice.int(0, sometimes(choice, 30) ? 5000 : 40)).fill(
        choice.int(0, 255),
      );
    case ScalarType.BOOL:
      return choice.int(0, 1) === 1;
    case ScalarType.DOUBLE:
      return oneOf(choice, [0, 1, -0, 1.5, NaN, Infinity, -Infinity, 5e-324, 1e308, 0.1]);
    case ScalarType.FLOAT:
      return oneOf(choice, [
        0,
        1,
        -0,
        1.5,
        NaN,
        Infinity,
        -Infinity,
        1e-45,
        3.4028234663852886e38,
        0.1,
      ]);
    case ScalarType.UINT32:
    case ScalarType.FIXED32:
      return oneOf(choice, [
        0,
        1,
        127,
        128,
        16383,
        16384,
        2 ** 31,
        2 ** 32 - 1,
        choice.int(0, 2 ** 31),
      ]);
    case ScalarType.INT32:
    case ScalarType.SINT32:
    case ScalarType.SFIXED32:
      return oneOf(choice, [
        0,
        -0,
        1,
        -1,
        127,
        128,
        -(2 ** 31),
        2 ** 31 - 1,
        choice.int(-999, 999),
      ]);
    case ScalarType.UINT64:
    case ScalarType.FIXED64:
      return oneOf(choice, [...naturals, 2n ** 63n, 2n ** 64n - 1n, 2n ** 64n - 2n ** 31n]);
    default:
      return oneOf(choice, [
        ...naturals,
        ...naturals.map((n) => -n),
        2n ** 63n - 1n,
        -(2n ** 63n),
        -(2n ** 53n) - 1n,
      ]);
  }
}

const naturals = [
  0n,
  1n,
  127n,
  128n,
  2n ** 31n,
  2n ** 32n - 1n,
  2n ** 32n,
  2n ** 35n,
  2n ** 53n - 1n,
  2n ** 53n,
  2n ** 53n + 1n,
  2n ** 56n,
  2n ** 60n + 3n,
];
