import { execFile, spawnSync } from "node:child_process";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterEach, beforeEach, expect, test } from "vitest";
import { nameProblem } from "../src/package-name.js";

const top = join(import.meta.dirname, "../../..");
let home: string;
beforeEach(() => {
  home = mkdtempSync(join(tmpdir(), "jetrpc-create-"));
});
afterEach(() => rmSync(home, { recursive: true, force: true }));

/** Runs the built command, where nobody can be asked. */
function create(args: readonly string[], env: Record<string, string> = {}) {
  const bin = join(import.meta.dirname, "../bin/create-jetrpc.js");
  return spawnSync(process.execPath, [bin, ...args], {
    cwd: home,
    encoding: "utf8",
    env: { PATH: process.env["PATH"], ...env },
  });
}

const manifestOf = (folder: string) =>
  JSON.parse(readFileSync(join(home, folder, "package.json"), "utf8"));

test("makes a repository, and says what to do next", () => {
  const { status, stdout } = create(["shop/my-app"]);
  expect(status).toBe(0);
  expect(stdout).toContain("  cd shop/my-app\n  npm install\n  npm run dev\n");
  expect(stdout).toContain("in a second terminal:\n\n  cd shop/my-app\n  npm run client -- Ada\n");
  const made = readdirSync(join(home, "shop/my-app")).sort();
  expect(made).toEqual(
    [".env", ".gitignore", "README.md", "buf.gen.yaml", "buf.yaml", "package.json"].concat([
      "proto",
      "src",
      "test",
      "tsconfig.json",
    ]),
  );
  expect(manifestOf("shop/my-app")).toMatchObject({ name: "my-app", private: true });
  expect(readFileSync(join(home, "shop/my-app/README.md"), "utf8")).toMatch(/^# my-app\n/);
});

test("every version is the one that it was tested with", () => {
  create(["my-app", "--web"]);
  const { devDependencies: own } = JSON.parse(
    readFileSync(join(import.meta.dirname, "../package.json"), "utf8"),
  );
  const { dependencies, devDependencies } = manifestOf("my-app");
  const all = { ...dependencies, ...devDependencies };
  expect(Object.keys(all).length).toBeGreaterThan(12);
  for (const [name, version] of Object.entries(all)) {
    expect(version, name).toBe(own[name]);
  }
});

test("with pnpm its commands are pnpm's", () => {
  const { stdout } = create(["my-app"], { npm_config_user_agent: "pnpm/10.34.9 npm/? node/v20" });
  expect(stdout).toContain("  pnpm install\n  pnpm dev\n");
  expect(stdout).toContain("  pnpm client Ada\n");
  expect(readFileSync(join(home, "my-app/README.md"), "utf8")).not.toMatch(/npm run|npx/);
  expect(existsSync(join(home, "my-app/pnpm-workspace.yaml"))).toBe(true);
});

test("in a repository with workspaces it says where buf looks for .proto files", () => {
  const hint = /^This folder has workspaces\. If npm installs into its node_modules/m;
  const pnpm = { npm_config_user_agent: "pnpm/10.34.9 npm/? node/v20" };
  mkdirSync(join(home, "apps"));
  writeFileSync(join(home, "package.json"), `{ "name": "shop" }`);
  expect(create(["apps/one"]).stdout).not.toMatch(hint);
  writeFileSync(join(home, "package.json"), `{ "workspaces": ["apps/*"] }`);
  const { stdout } = create(["apps/two"]);
  expect(stdout).toMatch(hint);
  expect(stdout).toContain("#where-node_modules-is-elsewhere");
  const readme = readFileSync(join(top, "packages/protoc-gen-jetrpc/README.md"), "utf8");
  expect(readme).toContain("### Where `node_modules` is elsewhere");
  expect(create(["apps/three"], pnpm).stdout).not.toMatch(hint);
});

test("options that npm keeps to itself are heeded", () => {
  const env = { npm_config_web: "true", npm_config_name: "my-app" };
  const { stdout } = create(["My App"], env);
  expect(stdout).toContain("The address of the page is in the output of npm run dev.");
  expect(existsSync(join(home, "My App/web/app.tsx"))).toBe(true);
  expect(manifestOf("My App")).toMatchObject({ name: "my-app" });
});

test("nothing is overwritten, and a new repository of git is filled", () => {
  mkdirSync(join(home, "full/.git"), { recursive: true });
  expect(create(["full"])).toMatchObject({ status: 0 });
  writeFileSync(join(home, "full/package.json"), "{}");
  expect(create(["full"])).toMatchObject({
    status: 2,
    stderr: expect.stringContaining("full is not empty"),
  });
  expect(readFileSync(join(home, "full/package.json"), "utf8")).toBe("{}");
  writeFileSync(join(home, "file"), "");
  expect(create(["file"])).toMatchObject({
    status: 2,
    stderr: expect.stringContaining("file is a file"),
  });
});

test.each([
  [[], "name the folder: `npm create jetrpc my-app`"],
  [["My App"], '"My App" is no name for npm: take my-app, as the folder\'s name or by --name'],
  [["a", "b"], "one folder is made at a time: a, b were given"],
  [["a", "--react"], "Unknown option '--react': see --help\n"],
])("%j is refused, and nothing is made", (args, text) => {
  expect(create(args)).toMatchObject({ status: 2, stderr: expect.stringContaining(text) });
  expect(readdirSync(home)).toEqual([]);
});

test("an old Node is named", () => {
  const run = `Object.defineProperty(process.versions, "node", { value: "18.20.8" });
const { main } = await import("${join(import.meta.dirname, "../dist/main.js")}");
process.exitCode = await main(["my-app"]);`;
  const { status, stderr } = spawnSync(process.execPath, ["--input-type=module", "-e", run], {
    cwd: home,
    encoding: "utf8",
  });
  expect({ status, stderr }).toEqual({
    status: 1,
    stderr: "create-jetrpc: this is Node 18.20.8, and Node 20 or newer is needed\n",
  });
  expect(readdirSync(home)).toEqual([]);
});

test("names are those that npm takes", () => {
  for (const name of ["my-app", "a", "@acme/app", "app_2.0"]) {
    expect(nameProblem(name), name).toBeUndefined();
  }
  for (const name of [
    "",
    ".app",
    "_app",
    "App",
    "a/b",
    "über",
    "a b",
    "node_modules",
    "x".repeat(215),
  ]) {
    expect(nameProblem(name), name).toContain("is no name for npm");
  }
  expect(nameProblem("Über Ünï")).toContain("take uber-uni");
});

test.runIf(existsSync("/proc/self"))("a place where no folder can be made is an error", () => {
  const { status, stderr } = create(["/proc/shop/my-app"]);
  expect({ status, stderr }).toEqual({
    status: 1,
    stderr: expect.stringContaining("could not be written: ENOENT"),
  });
});

test("a package.json above that cannot be read does not matter", () => {
  mkdirSync(join(home, "package.json"));
  expect(create(["my-app"])).toMatchObject({ status: 0, stderr: "" });
});

test("what it makes has no error of types", { timeout: 600_000 }, async () => {
  create(["my-app", "--web"]);
  const folder = join(home, "my-app");
  symlinkSync(join(top, "node_modules"), join(folder, "node_modules"));
  const run = (command: string, ...args: string[]) =>
    promisify(execFile)(join(top, "node_modules/.bin", command), args, {
      cwd: folder,
      env: { ...process.env, PATH: `${join(top, "node_modules/.bin")}:${process.env["PATH"]}` },
    });
  await run("buf", "generate");
  await run("buf", "lint", "proto");
  await run("tsc", "--noEmit");
  await run("tsc", "-p", "web");
});
