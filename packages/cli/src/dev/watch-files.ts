import { basename, normalize, relative, sep } from "node:path";
import { watch } from "chokidar";
import type { BufFiles } from "./buf-files.js";

/** Editors write several files at once, or one file in several steps: these belong together, in ms. */
const settleMs = 150;

/** Folders that are nobody's source. */
const foreign = new Set(["node_modules", "dist", "coverage", "out"]);

/** Folders with tests, which no worker runs. */
const testFolders = new Set(["test", "tests", "__tests__"]);

/** What a worker may import. */
const code = /\.[cm]?[jt]sx?$/;
const testFile = /\.(test|spec)\.[cm]?[jt]sx?$/;

/** What has changed. */
export interface Change {
  /** Something that buf reads. */
  readonly isSchema: boolean;
  /** Paths of code, and .env. */
  readonly code: readonly string[];
}

/** What is watched. */
export interface Watched {
  readonly buf: BufFiles;
  /** Folders and files whose code workers run. */
  readonly paths: readonly string[];
  onChange(change: Change): void;
  onError(error: NodeJS.ErrnoException): void;
}

/** Tells of changes of this folder's files, until it is closed. Resolves when it watches. */
export async function watchFiles({
  buf,
  paths,
  onChange,
  onError,
}: Watched): Promise<{ close(): Promise<void> }> {
  const files = ["buf.yaml", "buf.gen.yaml", ".env"];
  const outputs = new Set(buf.outputs);
  const changed = new Set<string>();
  const watcher = watch([...paths, ...buf.sources, ...files], {
    ignoreInitial: true,
    ignored: (path) => {
      const parts = relative(".", path).split(sep);
      const isNamed = [...paths, ...buf.sources].includes(relative(".", path) || ".");
      const name = parts.at(-1) ?? "";
      return (
        !isNamed &&
        (foreign.has(name) ||
          outputs.has(parts.join(sep)) ||
          (name.startsWith(".") && !/^\.*$/.test(name) && name !== ".env"))
      );
    },
  });
  let timer: NodeJS.Timeout | undefined;
  const tell = () => {
    const all = [...changed];
    changed.clear();
    const change = {
      isSchema: all.some(isSchema),
      code: all.filter((path) => isCode(path) && isBelow(path, paths)),
    };
    if (change.isSchema || change.code.length > 0) {
      onChange(change);
    }
  };
  watcher.on("all", (_event, path) => {
    changed.add(relative(".", path));
    clearTimeout(timer);
    timer = setTimeout(tell, settleMs);
  });
  watcher.on("error", (error) => onError(error as NodeJS.ErrnoException));
  await new Promise<void>((resolve) => watcher.once("ready", resolve));
  return watcher;
}

function isSchema(path: string): boolean {
  return path.endsWith(".proto") || ["buf.yaml", "buf.gen.yaml"].includes(path);
}

function isBelow(path: string, folders: readonly string[]): boolean {
  return (
    path === ".env" ||
    folders
      .map(normalize)
      .some((folder) => folder === "." || `${path}${sep}`.startsWith(`${folder}${sep}`))
  );
}

function isCode(path: string): boolean {
  return (
    path === ".env" ||
    (code.test(path) &&
      !testFile.test(basename(path)) &&
      !path.split(sep).some((part) => testFolders.has(part)))
  );
}
