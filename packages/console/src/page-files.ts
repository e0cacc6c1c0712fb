import { existsSync, readdirSync, readFileSync, statSync } from "node:fs";
import { extname, join, relative, sep } from "node:path";
import { fileURLToPath } from "node:url";

/** A file of the page. */
export interface PageFile {
  readonly type: string;
  readonly bytes: Buffer;
  /** Its name changes with its content: it may be kept for ever. */
  readonly isHashed: boolean;
}

const types: Readonly<Record<string, string>> = {
  ".css": "text/css; charset=utf-8",
  ".html": "text/html; charset=utf-8",
  ".ico": "image/x-icon",
  ".js": "text/javascript; charset=utf-8",
  ".json": "application/json",
  ".map": "application/json",
  ".png": "image/png",
  ".svg": "image/svg+xml",
  ".txt": "text/plain; charset=utf-8",
  ".webmanifest": "application/manifest+json",
  ".woff2": "font/woff2",
};

/** Where the build puts the page: beside this file, when that is built. */
const builtPage = [new URL("./page", import.meta.url), new URL("../dist/page", import.meta.url)];

/** The files of the built page, by their paths; only these are served. */
export class PageFiles {
  private readonly folder: string | undefined;
  private paths: ReadonlySet<string> | undefined;

  constructor(folder?: string) {
    const all = folder === undefined ? builtPage.map((url) => fileURLToPath(url)) : [folder];
    this.folder = all.find((each) => existsSync(join(each, "index.html")));
  }

  /** True when the page was built. */
  get isBuilt(): boolean {
    return this.folder !== undefined;
  }

  /** The file of a path; undefined when there is none. Addresses within the page have its document. */
  find(path: string): PageFile | undefined {
    const { folder } = this;
    if (folder === undefined) {
      return undefined;
    }
    // A build that replaces files while it runs is for its next start.
    this.paths ??= new Set(
      filesIn(folder).map((file) => `/${relative(folder, file).split(sep).join("/")}`),
    );
    const isFile = this.paths.has(path);
    if (!isFile && extname(path) !== "") {
      return undefined;
    }
    const file = isFile ? path : "/index.html";
    return {
      type: types[extname(file)] ?? "application/octet-stream",
      bytes: readFileSync(join(folder, file)),
      isHashed: /^\/assets\/.*-[\w-]{8,}\.\w+$/.test(file),
    };
  }
}

function filesIn(folder: string): string[] {
  return readdirSync(folder).flatMap((name) => {
    const path = join(folder, name);
    return statSync(path).isDirectory() ? filesIn(path) : [path];
  });
}
