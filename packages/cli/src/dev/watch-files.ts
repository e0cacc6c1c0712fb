import { existsSync, readFileSync } from "node:fs";
import { basename, relative, sep } from "node:path";
import { watch } from "chokidar";
import type { BufFiles } from "./buf-files.js";

/** Editors write several files at once, or one file in several steps: these belong together, in ms. */
const settleMs = 150;

/** How often to look whether a folder that was removed is back, in ms. */
const returnMs = 200;

/** Folders that are nobody's source. */
const foreign = new Set(["node_modules", "dist", "coverage", "out"]);

/** Folders with tests, which no worker runs. */
const testFolders = new Set(["test", "tests", "__tests__"]);

/** What a worker may import. */
const code = /\.[cm]?[jt]sx?$/;
const testFile = /\.(test|spec)\.[cm]?[jt]sx?$/;

/** Files of this folder that buf reads, and those that the command itself reads. */
const bufFiles = ["buf.yaml", "buf.gen.yaml"];
const settings = [...bufFiles, ".env", "package.json"];

/** What has changed. */
export interface Change {
  /** Something that buf reads. */
  readonly isSchema: boolean;
  /** Something that the command itself reads. */
  readonly isSetting: boolean;
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
  const outputs = new Set(buf.outputs);
  const named = [...paths, ...buf.sources].map(own);
  const changed = new Set<string>();
  // What is not there comes with a look at `gone`: chokidar is ready too early where it gets such a path.
  const gone = new Set(named.filter((path) => !existsSync(path)));
  const present = named.filter((path) => !gone.has(path));
  const watcher = watch([...new Set([...present, "."])], {
    ignoreInitial: true,
    ignored: (path) => {
      const file = own(path);
      if (file === "." || named.includes(file) || settings.includes(file)) {
        return false;
      }
      const name = basename(file);
      return (
        !named.some((folder) => isWithin(file, folder)) ||
        foreign.has(name) ||
        outputs.has(file) ||
        name.startsWith(".")
      );
    },
  });
  const schema = new Contents();
  let timer: NodeJS.Timeout | undefined;
  const tell = () => {
    const all = [...changed];
    changed.clear();
    const change = {
      // A generator may write its own input: as it is, time after time.
      isSchema: all.filter((path) => isSchema(path) && schema.isNew(path)).length > 0,
      isSetting: all.some((path) => settings.includes(path)),
      code: all.filter((path) => isCode(path) && isBelow(path, paths)),
    };
    if (change.isSchema || change.isSetting || change.code.length > 0) {
      onChange(change);
    }
  };
  watcher.on("all", (_event, path) => {
    changed.add(own(path));
    clearTimeout(timer);
    timer = setTimeout(tell, settleMs);
  });
  let looking: NodeJS.Timeout | undefined;
  const look = () => {
    for (const path of gone) {
      if (existsSync(path)) {
        gone.delete(path);
        watcher.add(path);
        // Nothing is told of what came back with it.
        onChange({
          isSchema: buf.sources.map(own).includes(path),
          isSetting: false,
          code: isBelow(path, paths) ? [path] : [],
        });
      }
    }
    looking = gone.size > 0 ? setTimeout(look, returnMs) : undefined;
  };
  look();
  // chokidar forgets what it was told to watch when that is removed, as by `git checkout`.
  watcher.on("unlinkDir", (path) => {
    if (named.includes(own(path))) {
      gone.add(own(path));
      looking ??= setTimeout(look, returnMs);
    }
  });
  watcher.on("error", (error) => onError(error as NodeJS.ErrnoException));
  await new Promise<void>((resolve) => watcher.once("ready", resolve));
  return {
    close() {
      clearTimeout(looking);
      return watcher.close();
    },
  };
}

/** A path as it is named here: below this folder, which is `.` itself. */
function own(path: string): string {
  return relative(".", path) || ".";
}

/** What files held when they were looked at last. */
class Contents {
  private readonly known = new Map<string, string | undefined>();

  /** False for a file that was looked at before, and is as it was then. */
  isNew(path: string): boolean {
    let text: string | undefined;
    try {
      text = readFileSync(path, "utf8");
    } catch {
      // It is removed.
    }
    const isNew = !this.known.has(path) || this.known.get(path) !== text;
    this.known.set(path, text);
    return isNew;
  }
}

function isSchema(path: string): boolean {
  return path.endsWith(".proto") || bufFiles.includes(path);
}

function isBelow(path: string, folders: readonly string[]): boolean {
  return path === ".env" || folders.some((folder) => isWithin(path, folder));
}

function isWithin(path: string, folder: string): boolean {
  const [first] = relative(folder, path).split(sep);
  return first !== "..";
}

function isCode(path: string): boolean {
  return (
    path === ".env" ||
    (code.test(path) &&
      !testFile.test(basename(path)) &&
      !path.split(sep).some((part) => testFolders.has(part)))
  );
}
