// `npm run build [-- name ...]`: builds the workspaces that have changed since they
// were last built, or that depend on one that has.
import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import {
  existsSync,
  linkSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { availableParallelism, tmpdir } from "node:os";
import { basename, delimiter, dirname, join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { fileURLToPath } from "node:url";

const top = fileURLToPath(new URL("..", import.meta.url));
const generator = "@jetrpc/protoc-gen-jetrpc";
const stamps = join(top, "node_modules", ".cache", "jetrpc-build");

/** The files of a package beside its sources. */
const noSource = new Set(["node_modules", "dist", "test", "out", "coverage"]);

/**
 * Builds what is stale, what depends on nothing unbuilt at the same time: of all
 * packages, or of the named ones and what they depend on. Tells `report` of every package that it builds, and returns how many there
 * are and how many it built. Throws an Error with the output of a build that failed.
 */
export async function build(report, names = []) {
  const packages = findPackages().filter(({ name }) => names.length === 0 || names.includes(name));
  if (packages.every(isFresh)) {
    return { packages: packages.length, built: 0 };
  }
  return withLock("build", report, async () => {
    const slot = limit(availableParallelism());
    const runs = new Map();
    let built = 0;
    const buildAfterDependencies = (unit) => {
      const run = async () => {
        await Promise.all(unit.dependencies.map(buildAfterDependencies));
        if (!isFresh(unit)) {
          await slot(() => buildPackage(unit, report));
          built += 1;
        }
      };
      if (!runs.has(unit)) {
        runs.set(unit, run());
      }
      return runs.get(unit);
    };
    const results = await Promise.allSettled(packages.map(buildAfterDependencies));
    const failed = results.find((result) => result.status === "rejected");
    if (failed) {
      throw failed.reason;
    }
    return { packages: packages.length, built };
  });
}

/** The workspaces that have a build script, with their fingerprints and what they depend on. */
function findPackages() {
  const { workspaces } = readJson(join(top, "package.json"));
  const byName = new Map();
  for (const folder of workspaces.flatMap(expand)) {
    const manifest = readJson(join(folder, "package.json"));
    if (manifest.scripts?.build) {
      byName.set(manifest.name, { name: manifest.name, folder, manifest });
    }
  }
  for (const unit of byName.values()) {
    // Development dependencies are for tests, and may be circular; but what is generated
    // is built by the generator.
    const { dependencies, devDependencies, peerDependencies } = unit.manifest;
    const builder = devDependencies?.[generator] && generator;
    unit.dependencies = [builder, ...Object.keys({ ...dependencies, ...peerDependencies })]
      .map((name) => byName.get(name))
      .filter((dependency) => dependency !== undefined);
  }
  const packages = [...byName.values()];
  for (const unit of packages) {
    addFingerprint(unit, []);
  }
  return packages;
}

/** The folders of a workspace pattern: a folder, `folder/*` or `folder/**`. */
function expand(pattern) {
  const [, base, stars] = /^(.*?)(?:\/(\*\*?))?$/.exec(pattern);
  const folder = join(top, base);
  const isPackage = (path) => existsSync(join(path, "package.json"));
  const walk = (path) =>
    subfolders(path).flatMap((child) => [child, ...(stars === "**" ? walk(child) : [])]);
  return (stars ? walk(folder) : [folder]).filter(isPackage);
}

function subfolders(folder) {
  if (!existsSync(folder)) {
    return [];
  }
  return readdirSync(folder, { withFileTypes: true })
    .filter(({ name }) => name !== "node_modules" && name !== "dist")
    .filter((entry) => entry.isDirectory())
    .map((entry) => join(folder, entry.name))
    .sort();
}

/** Sums up all that the output depends on: sources, tools, and the same of its dependencies. */
function addFingerprint(unit, dependents) {
  if (dependents.includes(unit)) {
    const circle = [...dependents, unit].map(({ name }) => name).join(" -> ");
    throw new Error(`packages depend on each other in a circle: ${circle}`);
  }
  if (unit.fingerprint) {
    return;
  }
  const hash = createHash("sha256");
  for (const path of filesIn(unit.folder, (name) => !noSource.has(name))) {
    hash
      .update(`${path.slice(unit.folder.length)}\0`)
      .update(readFileSync(path))
      .update("\0");
  }
  hash.update(readFileSync(join(top, "tsconfig.base.json")));
  const { dependencies, devDependencies, peerDependencies } = unit.manifest;
  const external = { ...dependencies, ...devDependencies, ...peerDependencies };
  for (const name of ["typescript", "tsup", "esbuild", ...Object.keys(external)]) {
    hash.update(`${name}@${installedVersion(unit.folder, name)}\0`);
  }
  for (const dependency of unit.dependencies) {
    addFingerprint(dependency, [...dependents, unit]);
    hash.update(dependency.fingerprint);
  }
  unit.fingerprint = hash.digest("hex");
}

/** All files of a package, but for documents, from the top-level folders that are wanted. */
function filesIn(folder, isWanted = () => true) {
  const files = readdirSync(folder, { withFileTypes: true })
    .filter((entry) => entry.isFile() && !/\.(md|tgz|log)$/.test(entry.name))
    .map((entry) => join(folder, entry.name))
    .sort();
  const folders = subfolders(folder)
    .filter((path) => isWanted(basename(path)))
    // Generated packages may lie within one another.
    .filter((path) => !existsSync(join(path, "package.json")));
  return [...files, ...folders.flatMap((path) => filesIn(path))];
}

function installedVersion(folder, name) {
  for (const parent of [folder, top]) {
    const path = join(parent, "node_modules", name, "package.json");
    if (existsSync(path)) {
      return readJson(path).version;
    }
  }
  return "";
}

function isFresh(unit) {
  const path = stampPath(unit);
  if (!existsSync(path)) {
    return false;
  }
  const stamp = readJson(path);
  return (
    stamp.fingerprint === unit.fingerprint &&
    stamp.outputs.every((output) => existsSync(join(unit.folder, output)))
  );
}

async function buildPackage(unit, report) {
  const started = performance.now();
  rmSync(stampPath(unit), { force: true });
  await runScript(unit);
  const outputs = filesIn(join(unit.folder, "dist")).map((path) =>
    path.slice(unit.folder.length + 1),
  );
  mkdirSync(dirname(stampPath(unit)), { recursive: true });
  writeFileSync(stampPath(unit), JSON.stringify({ fingerprint: unit.fingerprint, outputs }));
  report(`built ${unit.name} in ${((performance.now() - started) / 1000).toFixed(1)} s`);
}

/** Runs the build script as `npm run` does, without the half second that npm takes. */
function runScript({ name, folder, manifest }) {
  const bin = join(top, "node_modules", ".bin");
  const child = spawn(manifest.scripts.build, {
    shell: true,
    cwd: folder,
    env: { ...process.env, PATH: `${bin}${delimiter}${process.env.PATH}` },
    stdio: ["ignore", "pipe", "pipe"],
  });
  const output = [];
  child.stdout.on("data", (chunk) => output.push(chunk));
  child.stderr.on("data", (chunk) => output.push(chunk));
  return new Promise((resolve, reject) => {
    child.once("error", reject);
    child.once("close", (code, signal) => {
      if (code === 0) {
        resolve();
      } else {
        const text = Buffer.concat(output).toString().trimEnd();
        reject(
          new Error(`the build of ${name} failed (${signal ?? `exit code ${code}`}):\n${text}`),
        );
      }
    });
  });
}

function stampPath({ name }) {
  return join(stamps, `${name.replace("/", "__")}.json`);
}

function readJson(path) {
  return JSON.parse(readFileSync(path, "utf8"));
}

/** Lets so many actions run at once; the rest wait for their turn. */
function limit(count) {
  let free = count;
  const waiting = [];
  return async (action) => {
    if (free === 0) {
      await new Promise((resolve) => waiting.push(resolve));
    } else {
      free -= 1;
    }
    try {
      return await action();
    } finally {
      const next = waiting.shift();
      if (next) {
        next();
      } else {
        free += 1;
      }
    }
  };
}

/**
 * Runs an action while no other process runs one under the same name for this
 * folder. The lock of a killed process is removed.
 */
export async function withLock(name, report, action) {
  const place = createHash("sha256").update(top).digest("hex").slice(0, 16);
  const path = join(tmpdir(), `jetrpc-${name}-${place}.lock`);
  let told = false;
  while (!takeLock(path)) {
    const holder = lockHolder(path);
    if (holder === undefined) {
      rmSync(path, { force: true });
    } else {
      if (!told) {
        report(`waiting for process ${holder}, which does the same`);
        told = true;
      }
      await delay(100);
    }
  }
  try {
    return await action();
  } finally {
    rmSync(path, { force: true });
  }
}

/** Makes the lock in one step, so that nobody finds it without the process that holds it. */
function takeLock(path) {
  const own = `${path}.${process.pid}`;
  writeFileSync(own, String(process.pid));
  try {
    linkSync(own, path);
    return true;
  } catch (error) {
    if (error.code === "EEXIST") {
      return false;
    }
    throw error;
  } finally {
    rmSync(own);
  }
}

/** The process that holds a lock; undefined when there is none any more. */
function lockHolder(path) {
  try {
    const pid = Number(readFileSync(path, "utf8"));
    process.kill(pid, 0);
    return pid;
  } catch (error) {
    // Another user's process may not be signalled, but it is there.
    return error.code === "EPERM" ? "of another user" : undefined;
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const started = performance.now();
  try {
    const { packages, built } = await build(console.log, process.argv.slice(2));
    const seconds = ((performance.now() - started) / 1000).toFixed(1);
    console.log(
      `${built === 0 ? `${packages} packages are up to date` : `${built} built`}, ${seconds} s`,
    );
  } catch (error) {
    console.error(error.message);
    process.exitCode = 1;
  }
}
