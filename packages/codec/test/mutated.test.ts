import { expect, test } from "vitest";
import { chance, disagreement, mutated, someCorpus } from "./mutations.js";
import { oneOf } from "./schemas.js";

// `npm run fuzz:codec` reads a million.
test("changed bytes are refused, or the same message, as by protobuf-es", () => {
  const choice = chance(20_261_126);
  const count = { read: 0, refused: 0 };
  for (let i = 0; i < 20; i++) {
    const corpus = someCorpus(choice);
    for (let input = 0; input < 200; input++) {
      const of = oneOf(choice, corpus);
      const bytes = mutated(choice, corpus, of);
      const hex = () => `${of.schema.typeName} of ${Buffer.from(bytes).toString("hex")}`;
      const found = disagreement(of.schema, bytes, count);
      expect(found, found && hex()).toBeUndefined();
    }
  }
  expect(Math.min(count.read, count.refused)).toBeGreaterThan(500);
});
