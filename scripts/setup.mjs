// `npm run setup`: all that a bare clone needs for its demo and its tests.
// When everything is there already, it takes less than a second.
import { spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const top = fileURLToPath(new URL("..", import.meta.url));
const oldestNode = 20;

async function setup() {
  const node = process.versions.node;
  if (Number(node.split(".")[0]) < oldestNode) {
    throw new Error(
      `Node ${oldestNode} or newer is needed, and this is ${node}: install it from https://nodejs.org, or run nvm install.`,
    );
  }
  // Loaded when they can be: by a Node that is new enough, and after the build.
  const { build, withLock } = await import("./build.mjs");
  if (!isInstalled()) {
    await withLock("install", report, async () => {
      if (!isInstalled()) {
        report("installing dependencies with npm");
        await install();
        report("installed dependencies");
      }
    });
  }
  const { packages, built } = await build(report);
  if (built === 0) {
    report(`${packages} packages are up to date`);
  }
  const { findNatsServer } = await import("../packages/testing/dist/find-nats-server.js");
  const { path, version, source } = await findNatsServer({ onProgress: report });
  report(`nats-server ${version} (${source}): ${path}`);
}

const started = performance.now();

function report(line) {
  const seconds = ((performance.now() - started) / 1000).toFixed(1);
  console.log(`${seconds.padStart(6)} s  ${line}`);
}

/** True when node_modules holds what package-lock.json asks for; it does not matter how that was installed. */
function isInstalled() {
  let present;
  try {
    present = readPackages("node_modules/.package-lock.json");
  } catch {
    return false;
  }
  return Object.entries(readPackages("package-lock.json")).every(([path, wanted]) => {
    const found = present[path];
    if (path === "") {
      return true;
    }
    if (!found) {
      // Made for another system.
      return wanted.optional === true;
    }
    return found.version === wanted.version && found.integrity === wanted.integrity;
  });
}

function readPackages(path) {
  return JSON.parse(readFileSync(join(top, path), "utf8")).packages;
}

/**
 * Installs what package-lock.json says. Not by `npm ci`, which throws away what is
 * there already.
 */
async function install() {
  const args = ["install", "--no-save"];
  // Without a network npm would try for many minutes before it says so.
  const ping = await npm(["ping", "--fetch-retries=0"]);
  // An HTTP status is an answer, too: not every registry can be pinged.
  const unreachable = /npm error code E\d/.test(ping) ? "" : ping;
  const failure = await npm([...args, unreachable ? "--offline" : "--prefer-offline"]);
  if (failure) {
    throw new Error(
      unreachable
        ? `The npm registry cannot be reached, and npm's cache has not all that is needed.\n${unreachable}\nConnect this machine, or name a registry or a proxy that it reaches (npm config set registry <url>, npm config set https-proxy <url>), and run the command again.`
        : `npm ${args.join(" ")} failed:\n${failure}`,
    );
  }
}

/** Runs the npm that runs this script, if one does. Returns what it wrote if it failed, or nothing. */
function npm(args) {
  const own = process.env.npm_execpath;
  const [command, ...first] = own ? [process.execPath, own] : ["npm"];
  const child = spawn(command, [...first, ...args], {
    cwd: top,
    stdio: ["ignore", "pipe", "pipe"],
  });
  const output = [];
  child.stdout.on("data", (chunk) => output.push(chunk));
  child.stderr.on("data", (chunk) => output.push(chunk));
  return new Promise((resolve, reject) => {
    child.once("error", (error) => reject(new Error(`npm cannot be run: ${error.message}`)));
    child.once("close", (code) => {
      const text = Buffer.concat(output).toString().trimEnd();
      resolve(code === 0 ? "" : text || `exit code ${code}`);
    });
  });
}

setup().catch((error) => {
  console.error(`\nSet-up failed. ${error.message}`);
  process.exitCode = 1;
});
