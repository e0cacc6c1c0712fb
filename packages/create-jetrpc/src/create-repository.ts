import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

/** A package manager that the repository is made for. */
export type Manager = "npm" | "pnpm";

/** What is made. */
export interface Repository {
  /** Path of its folder, absent or empty. */
  readonly folder: string;
  readonly name: string;
  readonly manager: Manager;
  /** With a React page. */
  readonly hasWeb: boolean;
}

/** package.json, as far as it matters here. */
interface Manifest {
  name: string;
  scripts: Record<string, string>;
  dependencies: Record<string, string>;
  devDependencies: Record<string, string>;
}

/** The folder of this package, from `dist` and from `src`. */
const here = join(dirname(fileURLToPath(import.meta.url)), "..");

/** Files that npm would leave out or read itself bear these names in this package. */
const renamed: Readonly<Record<string, string>> = { _gitignore: ".gitignore", _env: ".env" };

/** Makes a repository of the templates. */
export function createRepository({ folder, name, manager, hasWeb }: Repository): void {
  const templates = ["base", ...(hasWeb ? ["web"] : [])].map((each) =>
    join(here, "templates", each),
  );
  const fill = (text: string) => inWordsOf(manager, text.replaceAll("{{name}}", name));
  let manifest: Manifest | undefined;
  const readme: string[] = [];
  makeFolder(folder);
  for (const template of templates) {
    for (const path of filesIn(template)) {
      const text = readFileSync(join(template, path), "utf8");
      if (path === "_package.json") {
        const own = JSON.parse(text) as Manifest;
        manifest = manifest ? merge(manifest, own) : own;
      } else if (path === "README.md") {
        readme.push(fill(text));
      } else {
        write(join(folder, renamed[path] ?? path), text.replaceAll("{{name}}", name));
      }
    }
  }
  const { dependencies = {}, devDependencies = {} } = manifest ?? {};
  const own = {
    ...manifest,
    name,
    dependencies: pinned(dependencies),
    devDependencies: pinned(devDependencies),
  };
  write(join(folder, "package.json"), `${JSON.stringify(own, undefined, 2)}\n`);
  write(join(folder, "README.md"), readme.join("\n"));
  if (manager === "pnpm") {
    cpSync(join(here, "templates/pnpm-workspace.yaml"), join(folder, "pnpm-workspace.yaml"));
  }
}

/** True when nothing is lost by a repository there: it is absent or empty, or was just made by git. */
export function isFree(folder: string): boolean {
  return !existsSync(folder) || readdirSync(folder).every((name) => name === ".git");
}

/** The folder above that has workspaces, into whose `node_modules` npm may install; undefined without one. */
export function workspacesAbove(folder: string): string | undefined {
  for (let at = dirname(folder); at !== dirname(at); at = dirname(at)) {
    const manifest = join(at, "package.json");
    if (/"workspaces"\s*:/.test(textOf(manifest))) {
      return at;
    }
  }
  return undefined;
}

/** The text of a file; empty where there is none, or where it is for others to read. */
function textOf(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return "";
  }
}

/**
 * Makes a folder, and those above it, where they are absent. By itself, Node tries for ever where a
 * folder is there and lets nothing be made in it, as /proc.
 */
function makeFolder(path: string): void {
  const above = dirname(path);
  if (!existsSync(above)) {
    makeFolder(above);
  }
  if (!existsSync(path)) {
    mkdirSync(path);
  }
}

/** Paths of all files below a folder. */
function filesIn(folder: string): string[] {
  return readdirSync(folder, { withFileTypes: true, recursive: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath ?? entry.path, entry.name).slice(folder.length + 1))
    .sort();
}

function write(path: string, text: string): void {
  makeFolder(dirname(path));
  writeFileSync(path, text);
}

/** What a template has, beside what those before it have. */
function merge(before: Manifest, after: Manifest): Manifest {
  return {
    ...after,
    ...before,
    scripts: { ...before.scripts, ...after.scripts },
    dependencies: { ...before.dependencies, ...after.dependencies },
    devDependencies: { ...before.devDependencies, ...after.devDependencies },
  };
}

/** The versions that this package was released and tested with: those of its own development. */
function pinned(dependencies: Record<string, string>): Record<string, string> {
  const { devDependencies } = JSON.parse(
    readFileSync(join(here, "package.json"), "utf8"),
  ) as Manifest;
  const names = Object.keys(dependencies).sort();
  return Object.fromEntries(
    names.map((name) => {
      const version = devDependencies[name];
      if (version === undefined) {
        throw new Error(`create-jetrpc knows no version of ${name}: report this as a bug`);
      }
      return [name, version];
    }),
  );
}

/** The commands of a text as they are with a package manager. */
export function inWordsOf(manager: Manager, text: string): string {
  return manager === "npm"
    ? text
    : text
        .replaceAll(/\bnpm run ([\w:]+) -- /g, "pnpm $1 ")
        .replaceAll("npm run ", "pnpm ")
        .replaceAll(/\bnpm (test|start|install)\b/g, "pnpm $1")
        .replaceAll(/\bnpx /g, "pnpm exec ");
}
