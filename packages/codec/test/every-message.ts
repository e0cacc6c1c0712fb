import {
  create,
  type DescMessage,
  type FileRegistry,
  fromBinary,
  toBinary,
} from "@bufbuild/protobuf";
import { expect } from "vitest";
import { parse } from "../src/decode.js";
import { encode } from "../src/encode.js";
import { chance } from "./mutations.js";
import { difference } from "./same.js";
import { someInit } from "./values.js";

/** Expects that values of each message are written and read as protobuf-es does. */
export function expectEveryMessage(registry: FileRegistry, atLeast: number): void {
  const choice = chance(7);
  const schemas = [...registry].filter((type): type is DescMessage => type.kind === "message");
  expect(schemas.length).toBeGreaterThanOrEqual(atLeast);
  for (const schema of schemas) {
    for (let i = 0; i < 4; i++) {
      const init = someInit(choice, schema, 2);
      const message = create(schema, init);
      const bytes = toBinary(schema, message);
      const hex = Buffer.from(bytes).toString("hex");
      expect(Buffer.from(encode(schema, message)).toString("hex"), schema.typeName).toBe(hex);
      expect(Buffer.from(encode(schema, init)).toString("hex"), schema.typeName).toBe(hex);
      const read = parse(schema, bytes, false);
      expect(difference(read, fromBinary(schema, bytes)), schema.typeName).toBeUndefined();
    }
  }
}
