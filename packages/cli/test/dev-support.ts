import { type ChildProcess, spawn } from "node:child_process";
import { randomUUID } from "node:crypto";
import { EventEmitter, once } from "node:events";
import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, dirname, join } from "node:path";
import { expect } from "vitest";
import { createRepository } from "../../create-jetrpc/src/create-repository.js";
import { freePorts } from "../../testing/src/free-ports.js";

export const top = join(import.meta.dirname, "../../..");
export const bin = join(import.meta.dirname, "../bin/jetrpc.js");

/** Without what npm adds when it runs the tests. */
export const bare = process.env["PATH"]
  ?.split(delimiter)
  .filter((folder) => !folder.includes("node_modules"))
  .join(delimiter);

/** A folder in which `jetrpc dev` runs, which asks for a server on a free port. */
export class Folder {
  readonly folder: string;
  url = "";

  constructor(name = "own") {
    this.folder = join(mkdtempSync(join(tmpdir(), "jetrpc-dev-")), name);
  }

  async create(): Promise<void> {
    mkdirSync(this.folder, { recursive: true });
    symlinkSync(join(top, "node_modules"), join(this.folder, "node_modules"));
    const [port] = await freePorts(1);
    this.serveAt(`nats://127.0.0.1:${port}`);
  }

  serveAt(url: string): void {
    this.url = url;
    this.write(".env", `NATS_URL=${url}\n`);
  }

  read(path: string): string {
    return readFileSync(join(this.folder, path), "utf8");
  }

  write(path: string, text: string): void {
    mkdirSync(dirname(join(this.folder, path)), { recursive: true });
    writeFileSync(join(this.folder, path), text);
  }

  replace(path: string, from: string, to: string): void {
    const text = this.read(path);
    expect(text).toContain(from);
    this.write(path, text.replace(from, to));
  }

  remove(): void {
    rmSync(dirname(this.folder), { recursive: true, force: true });
  }
}

/** A repository as `npm create jetrpc` makes it, with the packages of this one. */
export class Repository extends Folder {
  override async create(): Promise<void> {
    createRepository({ folder: this.folder, name: "own", manager: "npm", hasWeb: false });
    await super.create();
  }
}

/** `jetrpc dev`, as it runs. */
export class Dev {
  /** All processes that it starts have it in their environment. */
  private readonly mark = randomUUID();
  readonly child: ChildProcess;
  readonly ended: Promise<unknown[]>;
  output = "";
  private readonly said = new EventEmitter();
  private readUpTo = 0;

  constructor(folder: string, ...args: string[]) {
    this.child = spawn(process.execPath, [bin, "dev", ...args], {
      cwd: folder,
      env: { PATH: bare, JETRPC_TEST_MARK: this.mark },
      stdio: ["ignore", "pipe", "pipe"],
    });
    for (const stream of [this.child.stdout, this.child.stderr]) {
      stream?.on("data", (chunk) => {
        this.output += chunk;
        this.said.emit("more");
      });
    }
    this.ended = once(this.child, "close");
  }

  /** Waits until it says something that it has not said before. */
  async hears(wanted: RegExp): Promise<void> {
    for (;;) {
      const found = wanted.exec(this.output.slice(this.readUpTo));
      if (found) {
        this.readUpTo += found.index + found[0].length;
        return;
      }
      if (this.child.exitCode !== null || this.child.signalCode !== null) {
        throw new Error(`it has ended without ${wanted}:\n${this.output}`);
      }
      await Promise.race([once(this.said, "more"), this.ended]);
    }
  }

  /** Pids of all that it has started, and of itself. */
  processes(): number[] {
    return processesOf(this.mark);
  }

  async noneIsLeft(): Promise<void> {
    await expect.poll(() => this.processes()).toEqual([]);
  }
}

/** Pids of the processes that have something in their environment. */
export function processesOf(mark: string): number[] {
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .filter((pid) => {
      try {
        return readFileSync(`/proc/${pid}/environ`, "latin1").includes(mark);
      } catch {
        // It has ended meanwhile, or is another user's.
        return false;
      }
    })
    .map(Number);
}

const devs: Dev[] = [];
export function startDev(folder: string, ...args: string[]): Dev {
  return startWithConsole(folder, "--no-console", ...args);
}

export function startWithConsole(folder: string, ...args: string[]): Dev {
  const dev = new Dev(folder, ...args);
  devs.push(dev);
  return dev;
}

export async function killAll(): Promise<void> {
  for (const dev of devs.splice(0)) {
    if (dev.child.exitCode === null && dev.child.signalCode === null) {
      dev.child.kill("SIGKILL");
      await dev.ended;
    }
  }
}
