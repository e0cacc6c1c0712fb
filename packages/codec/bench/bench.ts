// `npm run bench -w @jetrpc/codec`: what a message costs beside protobuf-es, in CPU time.
// `-- --filter order` for some of the messages, `-- --rounds 9` for more rounds.
import { parseArgs } from "node:util";
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { decode, encode } from "@jetrpc/codec";
import { samples } from "./messages.js";

const { values } = parseArgs({
  options: {
    filter: { type: "string", default: "" },
    rounds: { type: "string", default: "5" },
    milliseconds: { type: "string", default: "60" },
  },
});
const rounds = Number(values.rounds);
const slice = Number(values.milliseconds) * 1000;

let sink: unknown;

/** CPU time of an action in nanoseconds: other processes of the machine do not count. */
function cost(action: () => unknown): number {
  const start = process.cpuUsage();
  let count = 0;
  let used = 0;
  for (let batch = 1; used < slice; batch = Math.min(batch * 2, 4096)) {
    for (let i = 0; i < batch; i++) {
      sink = action();
    }
    count += batch;
    const { user, system } = process.cpuUsage(start);
    used = user + system;
  }
  return (used * 1000) / count;
}

const median = (numbers: number[]): number =>
  numbers.sort((a, b) => a - b)[Math.floor(numbers.length / 2)] as number;

const geometric = (numbers: number[]): number =>
  Math.exp(numbers.reduce((sum, n) => sum + Math.log(n), 0) / numbers.length);

const measured = samples
  .filter(({ name }) => name.includes(values.filter))
  .map(({ name, schema, init, isBulk }) => {
    const message = create(schema, init);
    const bytes = toBinary(schema, message);
    const pairs: [string, () => unknown, () => unknown][] = [
      ["write", () => toBinary(schema, message), () => encode(schema, message)],
      ["init", () => toBinary(schema, create(schema, init)), () => encode(schema, init)],
      ["read", () => fromBinary(schema, bytes), () => decode(schema, bytes)],
    ];
    return { name, size: bytes.length, pairs, isBulk };
  });

// All types are warm before the first is measured: programs have several.
for (const { pairs } of measured) {
  for (const [, theirs, ours] of pairs) {
    cost(theirs);
    cost(ours);
  }
}

const ratios: Record<string, number[]> = { write: [], init: [], read: [] };
const micro = (ns: number): string => (ns / 1000).toFixed(2).padStart(8);
console.log("| message | bytes | write | | | init | | | read | | |");
for (const { name, size, pairs } of measured) {
  const cells = pairs.map(([what, theirs, ours]) => {
    const both = Array.from({ length: rounds }, () => [cost(theirs), cost(ours)] as const);
    const ratio = median(both.map(([es, own]) => es / own));
    ratios[what]?.push(ratio);
    const [es, own] = [median(both.map(([n]) => n)), median(both.map(([, n]) => n))];
    return `${micro(es)} | ${micro(own)} | ${ratio.toFixed(1).padStart(5)}`;
  });
  console.log(`| ${name.padEnd(32)} | ${String(size).padStart(6)} | ${cells.join(" | ")} |`);
}
for (const [what, all] of Object.entries(ratios)) {
  const fields = all.filter((_, i) => !measured[i]?.isBulk);
  console.log(
    `${what}: ${geometric(fields).toFixed(1)}x without those of one large field, ${geometric(all).toFixed(1)}x with them, at least ${Math.min(...all).toFixed(1)}x`,
  );
}

export { sink };
