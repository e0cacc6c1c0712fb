import { execFile } from "node:child_process";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import { build } from "tsup";
import { afterAll, beforeAll, expect, test } from "vitest";

const run = promisify(execFile);
const top = join(import.meta.dirname, "..");
const folder = join(top, "examples");

/** What the numbered examples share. */
const shared = ["server.ts"];
/** Those that came before, each in a folder of its own. */
const others = ["telemetry/telemetry.ts", "weather/weather.ts"];

const files = readdirSync(folder).filter((name) => name.endsWith(".ts") && !shared.includes(name));
const examples = [...files, ...others];

// They are built at once: `npx tsx` would take a second for each.
mkdirSync(join(top, "out"), { recursive: true });
const built = mkdtempSync(join(top, "out/examples-"));
beforeAll(async () => {
  await build({
    entry: examples.map((name) => join(folder, name)),
    outDir: built,
    format: "esm",
    target: "node20",
    skipNodeModulesBundle: true,
    config: false,
    silent: true,
  });
});
afterAll(() => rmSync(built, { recursive: true }));

test("every example has a number of its own, and a line in the README", () => {
  const numbers = files.map((name) => /^(\d\d)-[a-z-]+\.ts$/.exec(name)?.[1]);
  expect(numbers).toEqual(files.map((_, index) => String(index + 1).padStart(2, "0")));
  const readme = readFileSync(join(folder, "README.md"), "utf8");
  const listed = readme.matchAll(/^\| \[(\d\d)\]\((\S+)\) \| \S/gm);
  expect([...listed].map(([, number, name]) => [number, name])).toEqual(
    files.map((name) => [name.slice(0, 2), name]),
  );
});

test.each(examples)("examples/%s prints what it says", async (name) => {
  const expected = outputOf(readFileSync(join(folder, name), "utf8"));
  // Node 20 has WebSockets when asked for them.
  // The process of the tests has the flag, too.
  const flags = process.versions.node.startsWith("20.") ? ["--experimental-websocket"] : [];
  const { stdout } = await run(process.execPath, [
    ...flags,
    join(built, name.replace(/\.ts$/, ".js")),
  ]);
  if (!patternOf(expected).test(stdout)) {
    expect(stdout).toBe(expected);
  }
});

/** The comment at the end of an example. */
function outputOf(source: string): string {
  const [, comment] = /\n\/\/ Prints:\n((?:\/\/.*\n)+)$/.exec(source) ?? [];
  if (comment === undefined) {
    throw new Error("it does not end with a comment `// Prints:` and what it prints");
  }
  return comment.replace(/^\/\/ ?/gm, "");
}

/** In it `…` is any text, and a line that has nothing else is any number of lines. */
function patternOf(expected: string): RegExp {
  const lines = expected.trimEnd().split("\n");
  const patterns = lines.map((line) =>
    line === "…"
      ? "(?:.*\n)*"
      : `${line
          .split("…")
          .map((text) => text.replace(/[\\^$.*+?()[\]{}|]/g, "\\$&"))
          .join(".*")}\n`,
  );
  return new RegExp(`^${patterns.join("")}$`);
}
