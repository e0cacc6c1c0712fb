// `npm run lines`: how many lines of code each floor of the runtime has. `-- --check` fails
// when one has more than docs/decisions/0014-the-core.md allows, or a file is too long.
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const top = fileURLToPath(new URL("..", import.meta.url));
const source = join(top, "packages/runtime/src");
const decision = "docs/decisions/0014-the-core.md";

/** Most lines of a file, with comments and blank lines. */
const longest = 400;

const files = readdirSync(source, { recursive: true })
  .filter((path) => path.endsWith(".ts") && !path.startsWith("gen"))
  .map((path) => ({ path, lines: readFileSync(join(source, path), "utf8").split("\n") }));

/** Lines of code by floor: no comments, no blank lines. Files at the top are a floor, too. */
const counts = new Map();
for (const { path, lines } of files) {
  const floor = path.includes("/") ? path.split("/")[0] : "entries, connection";
  const code = lines.filter((line) => !/^\s*(\/\/|\/?\*|$)/.test(line)).length;
  counts.set(floor, (counts.get(floor) ?? 0) + code);
}

const budgets = new Map(
  [
    ...readFileSync(join(top, decision), "utf8").matchAll(/^\| ([^|]+?) +\| .* \| +(\d+) \|$/gm),
  ].map(([, floor, most]) => [floor, Number(most)]),
);

for (const [floor, count] of counts) {
  const most = budgets.get(floor);
  console.log(`${floor}: ${count} of ${most ?? "no budget"}`);
  if (process.argv[2] === "--check" && !(count <= most)) {
    console.error(
      `${floor} has ${count} lines of code, and ${decision} allows ${most ?? "none"}: take some out, or say there why it needs more`,
    );
    process.exitCode = 1;
  }
}
for (const { path, lines } of files.filter(({ lines }) => lines.length - 1 > longest)) {
  console.error(`packages/runtime/src/${path} has ${lines.length - 1} lines, more than ${longest}`);
  process.exitCode = 1;
}
