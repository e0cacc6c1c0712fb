// `npm run check`: everything that a review should not have to look at.
import { execFile, execFileSync, spawnSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const top = fileURLToPath(new URL("..", import.meta.url));
const env = { ...process.env, NO_COLOR: "1", PATH: `${top}/node_modules/.bin:${process.env.PATH}` };

const folders = execFileSync("git", ["ls-files", "package.json", "**/package.json"], { cwd: top })
  .toString()
  .trim()
  .split("\n")
  .map((path) => join(top, dirname(path)))
  .filter((folder) => !folder.includes("/fixtures/") && !folder.includes("/test/"));
const manifest = (folder) => JSON.parse(readFileSync(join(folder, "package.json"), "utf8"));
const published = folders.filter((folder) => !manifest(folder).private);
const name = (folder) => folder.slice(top.length) || ".";

const shellScripts = [
  "infrastructure/monitoring/setup.sh",
  "infrastructure/nats-server/setup.sh",
  "infrastructure/nats-server/certificates.sh",
  "test/clean-root.sh",
];

function hasShellcheck() {
  return spawnSync("shellcheck", ["--version"]).status === 0;
}

const checks = [
  ["format and lint", "biome", ["ci", ".", "--error-on-warnings"]],
  ...folders
    .filter((folder) => existsSync(join(folder, "tsconfig.json")))
    .map((folder) => [`types of ${name(folder)}`, "tsc", ["--noEmit", "-p", folder]]),
  ["types of the console's page", "tsc", ["--noEmit", "-p", "packages/console/page"]],
  ["unused code and dependencies", "knip", []],
  ["buf lint", "buf", ["lint"]],
  // Debian's; CI has it.
  ...(process.env.CI || hasShellcheck()
    ? [["shell scripts", "shellcheck", ["-x", "-a", ...shellScripts]]]
    : []),
  ["buf format", "buf", ["format", "--diff", "--exit-code"]],
  ...published.flatMap((folder) => [
    [`publint of ${name(folder)}`, "publint", [folder, "--strict"]],
    // What is a command only is imported by nobody.
    ...(manifest(folder).exports
      ? [
          [
            `types as published of ${name(folder)}`,
            "attw",
            ["--pack", folder, "--profile", "node16"],
          ],
        ]
      : []),
  ]),
  ["sizes of bundles", "node", ["scripts/sizes.mjs", "--check"]],
  ["lines of the runtime", "node", ["scripts/lines.mjs", "--check"]],
  ["API reference", "node", ["scripts/api.mjs", "--check"]],
  ["generated files are up to date", "node", ["scripts/generate.mjs"], unchanged],
];

/** Throws when generating has changed a file that is committed, or made one that is not. */
function unchanged() {
  const changes = execFileSync(
    "git",
    [
      "status",
      "--porcelain",
      "gen",
      "examples/gen",
      ":(glob)packages/*/src/gen/**",
      "packages/runtime/test/gen",
    ],
    { cwd: top },
  ).toString();
  if (changes !== "") {
    throw new Error(`generating changed:\n${changes}Commit what \`npm run generate\` makes.`);
  }
}

function run(command, args) {
  return new Promise((resolve, reject) => {
    const options = { cwd: top, env, maxBuffer: 64 * 1024 * 1024 };
    execFile(command, args, options, (error, stdout, stderr) =>
      error ? reject(new Error(`${stdout}${stderr}` || error.message)) : resolve(),
    );
  });
}

async function check([what, command, args, then]) {
  const start = Date.now();
  try {
    await run(command, args);
    then?.();
    console.log(`ok      ${what} (${((Date.now() - start) / 1000).toFixed(1)} s)`);
    return true;
  } catch (error) {
    console.log(`FAILED  ${what}\n\n${error.message}\n`);
    return false;
  }
}

const results = [];
const rest = [...checks];
// The last one writes files that others read, so it runs alone.
const last = rest.pop();
await Promise.all(
  [1, 2].map(async () => {
    for (let next = rest.shift(); next; next = rest.shift()) {
      results.push(await check(next));
    }
  }),
);
results.push(await check(last));
const failed = results.filter((ok) => !ok).length;
console.log(`${results.length - failed} checks passed, ${failed} failed`);
process.exitCode = failed > 0 ? 1 : 0;
