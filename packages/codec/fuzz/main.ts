// `npm run fuzz:codec`: a million changed messages, read by protobuf-es and by us.
// `-- --inputs 20000` for fewer, `-- --seed 7` for those of a run before.
import { parseArgs } from "node:util";
import { chance, disagreement, mutated, someCorpus } from "../test/mutations.js";
import { oneOf } from "../test/schemas.js";

const { values } = parseArgs({
  options: {
    inputs: { type: "string", default: "1000000" },
    seed: { type: "string", default: String(Date.now() % 1_000_000) },
  },
});
const inputs = Number(values.inputs);
const choice = chance(Number(values.seed));
console.log(`${inputs} inputs, --seed ${values.seed}`);

/** So many inputs are made of one set of types. */
const perCorpus = 1000;
let done = 0;
const count = { read: 0, refused: 0 };
while (done < inputs) {
  const corpus = someCorpus(choice);
  for (let i = 0; i < perCorpus && done < inputs; i++, done++) {
    const of = oneOf(choice, corpus);
    const bytes = mutated(choice, corpus, of);
    const found = disagreement(of.schema, bytes, count);
    if (found !== undefined) {
      console.error(
        `input ${done}, a ${of.schema.typeName} of ${Buffer.from(bytes).toString("hex")}`,
      );
      console.error(
        of.schema.fields
          .map(
            (its) =>
              `  ${its.number} ${its} ${its.fieldKind} ${its.scalar ?? its.message ?? its.enum}`,
          )
          .join("\n"),
      );
      console.error(found);
      process.exit(1);
    }
  }
  if (done % 50_000 === 0 || done === inputs) {
    console.log(`${done}: ${count.read} read, ${count.refused} refused, as by protobuf-es`);
  }
}
