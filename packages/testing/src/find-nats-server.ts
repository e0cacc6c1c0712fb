import { accessSync, constants, statSync } from "node:fs";
import { chmod, mkdir, mkdtemp, readdir, rename, rm, stat } from "node:fs/promises";
import { homedir } from "node:os";
import { delimiter, join, resolve } from "node:path";
import { debianMirror, fetchDebianPackage } from "./debian-package.js";
import { downloadRelease, pinnedRelease, releasesUrl } from "./nats-release.js";
import { checkServerVersion, oldestVersion } from "./server-version.js";

/** Options of {@link findNatsServer}. */
export interface FindNatsServerOptions {
  /** Told what is tried, why it failed and what is downloaded, a line at a time. */
  onProgress?: ((line: string) => void) | undefined;
  /** Environment in place of the process's own. */
  env?: Readonly<Record<string, string | undefined>> | undefined;
  /** Where a downloaded server is kept. Default: `jetrpc` in `$XDG_CACHE_HOME` or `~/.cache`. */
  cacheDir?: string | undefined;
  /** Folder of nats-server's releases. Default: the one on GitHub. */
  releasesUrl?: string | undefined;
  /** Debian mirror. Default: `http://deb.debian.org/debian`. */
  debianMirror?: string | undefined;
}

/** A nats-server on this machine. */
export interface NatsServerBinary {
  readonly path: string;
  /** As the server gives it: `2.15.1`. */
  readonly version: string;
  /** Where it was found. */
  readonly source: "NATS_SERVER_BIN" | "PATH" | "cache" | "release" | "debian";
}

/** Options without gaps. */
type Options = {
  readonly [O in keyof FindNatsServerOptions]-?: NonNullable<FindNatsServerOptions[O]>;
};

interface Search extends Options {
  /** Where a downloaded server is kept: of this machine's kind, as homes may be shared. */
  readonly cached: string;
}

/** Debian's releases that have a nats-server that is new enough, newest first. */
const debianSuites = ["sid", "forky"];

/**
 * Finds a nats-server that is new enough (2.12), in this order:
 *
 * 1. the one that the environment variable `NATS_SERVER_BIN` names,
 * 2. one on `PATH`,
 * 3. the one that an earlier call downloaded,
 * 4. an official release, whose SHA-256 is pinned here,
 * 5. Debian's package, whose signature apt-get checks, when there is an apt-get.
 *
 * Tells each failure to `onProgress` and tries the next one. When all fail, it
 * rejects with an Error that gives each one's reason and says what to install.
 * Works on Linux and macOS.
 */
export async function findNatsServer(
  options: FindNatsServerOptions = {},
): Promise<NatsServerBinary> {
  const search = searchOf(options);
  const reasons: string[] = [];
  const errors: unknown[] = [];
  for (const [name, way] of ways) {
    try {
      return await way(search);
    } catch (error) {
      const reason = `${name}: ${error instanceof Error ? error.message : error}`;
      reasons.push(reason);
      errors.push(error);
      search.onProgress(reason);
    }
  }
  throw new Error(
    `No nats-server ${oldestVersion} or newer was found.
${reasons.map((reason) => `  ${reason}`).join("\n")}
Install one (macOS: brew install nats-server; else https://github.com/nats-io/nats-server/releases) and put it on PATH, or set NATS_SERVER_BIN to its path.`,
    { cause: new AggregateError(errors) },
  );
}

const ways: ReadonlyArray<[string, (search: Search) => Promise<NatsServerBinary>]> = [
  ["NATS_SERVER_BIN", fromVariable],
  ["PATH", fromPath],
  ["cache", fromCache],
  ["release", fromRelease],
  ["Debian", fromDebian],
];

function searchOf(options: FindNatsServerOptions): Search {
  const env = options.env ?? process.env;
  const cacheDir = resolve(
    options.cacheDir ??
      join(env["XDG_CACHE_HOME"] || join(env["HOME"] || homedir(), ".cache"), "jetrpc"),
  );
  return {
    env,
    cacheDir,
    cached: join(cacheDir, `nats-server-${process.platform}-${process.arch}`),
    onProgress: options.onProgress ?? (() => {}),
    releasesUrl: options.releasesUrl ?? releasesUrl,
    debianMirror: options.debianMirror ?? debianMirror,
  };
}

async function fromVariable({ env }: Search): Promise<NatsServerBinary> {
  const path = env["NATS_SERVER_BIN"];
  if (!path) {
    throw new Error("not set");
  }
  if (!isExecutable(path)) {
    throw new Error(`${path} is no executable file`);
  }
  return { path, version: await checkServerVersion(path), source: "NATS_SERVER_BIN" };
}

async function fromPath({ env }: Search): Promise<NatsServerBinary> {
  const reasons: string[] = [];
  for (const directory of new Set((env["PATH"] ?? "").split(delimiter))) {
    const path = join(directory, "nats-server");
    // An empty entry means the working folder, which is nobody's intention.
    if (directory !== "" && isExecutable(path)) {
      try {
        return { path, version: await checkServerVersion(path), source: "PATH" };
      } catch (error) {
        reasons.push((error as Error).message);
      }
    }
  }
  throw new Error(reasons.join("; ") || "no nats-server there");
}

async function fromCache({ cached }: Search): Promise<NatsServerBinary> {
  if (!isExecutable(cached)) {
    throw new Error(`no ${cached} yet`);
  }
  return { path: cached, version: await checkServerVersion(cached), source: "cache" };
}

async function fromRelease(search: Search): Promise<NatsServerBinary> {
  const version = await intoCache(search, (directory) =>
    downloadRelease({
      release: pinnedRelease,
      url: search.releasesUrl,
      directory,
      env: search.env,
      report: search.onProgress,
    }),
  );
  return { path: search.cached, version, source: "release" };
}

async function fromDebian(search: Search): Promise<NatsServerBinary> {
  const reasons: string[] = [];
  for (const suite of debianSuites) {
    try {
      const version = await intoCache(search, (directory) =>
        fetchDebianPackage({
          mirror: search.debianMirror,
          suite,
          directory,
          env: search.env,
          report: search.onProgress,
        }),
      );
      return { path: search.cached, version, source: "debian" };
    } catch (error) {
      reasons.push((error as Error).message);
    }
  }
  // Both most often fail for one reason.
  throw new Error([...new Set(reasons)].join("; "));
}

/**
 * Has a server put into an empty folder, and from there into the cache in one
 * step: another process finds the whole of it or nothing. Returns its version.
 */
async function intoCache(
  { cacheDir, cached }: Search,
  fetchBinary: (directory: string) => Promise<string>,
): Promise<string> {
  await mkdir(cacheDir, { recursive: true });
  await removeAbandoned(cacheDir);
  const directory = await mkdtemp(join(cacheDir, scratchPrefix));
  try {
    const binary = await fetchBinary(directory);
    await chmod(binary, 0o755);
    const version = await checkServerVersion(binary);
    await rename(binary, cached);
    return version;
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

const scratchPrefix = "download-";

/** Removes what killed processes left half done. No download takes an hour. */
async function removeAbandoned(cacheDir: string): Promise<void> {
  for (const name of await readdir(cacheDir)) {
    const path = join(cacheDir, name);
    const made = name.startsWith(scratchPrefix)
      ? await stat(path).catch(() => undefined)
      : undefined;
    if (made && Date.now() - made.mtimeMs > 3_600_000) {
      await rm(path, { recursive: true, force: true });
    }
  }
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return statSync(path).isFile();
  } catch {
    return false;
  }
}
