import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { readdirSync } from "node:fs";
import type { Readable, Writable } from "node:stream";
import { setTimeout as delay } from "node:timers/promises";
import { statOf } from "../callers.js";

/**
 * Lives until its stdin ends, which is when this process is gone, however it went. Then it kills
 * the process groups that it was told of.
 */
const reaper = `
trap '' INT TERM HUP
groups=
while read -r verb group; do
  others=
  for each in $groups; do [ "$each" = "$group" ] || others="$others $each"; done
  groups=$others
  [ "$verb" = add ] && groups="$groups $group"
done
for each in $groups; do kill -s KILL -- "-$each"; done
`;

/** Waits for a word before it becomes the command: the reaper knows of it by then. */
const launcher = `
read -r _ <&3 || exit 1
exec 3<&-
exec /bin/sh -c "$1"
`;

/** How often it is looked whether a group that is told to end has ended, in ms. */
const lookMs = 100;

/** How a process ended. */
export interface ProcessEnd {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

/**
 * Runs commands by the shell, each in a process group of its own: Ctrl-C in a terminal does not
 * reach it, and a signal for it reaches what the shell or npm have started, too. No process of a
 * group outlives this process, even when that is killed. Linux and macOS.
 */
export class ProcessGroups {
  private readonly reaper = spawn("/bin/sh", ["-c", reaper], {
    // In a session of its own no Ctrl-C and no end of the terminal reaches it.
    detached: true,
    stdio: ["pipe", "ignore", "ignore"],
  });

  constructor() {
    // It may be gone when this process is about to end.
    this.reaper.stdin.on("error", () => {});
  }

  /** Starts a command. Its stdin is empty, unless `hasStdin` is set: then `write()` fills it. */
  start(command: string, env: NodeJS.ProcessEnv, hasStdin = false): ProcessGroup {
    const child = spawn("/bin/sh", ["-c", launcher, "sh", command], {
      detached: true,
      env,
      stdio: [hasStdin ? "pipe" : "ignore", "pipe", "pipe", "pipe"],
    });
    const tell = (verb: "add" | "remove") => this.reaper.stdin.write(`${verb} ${child.pid}\n`);
    tell("add");
    const go = child.stdio[3] as Writable;
    go.on("error", () => {});
    go.end("\n");
    // It may have ended when something is written to it.
    child.stdin?.on("error", () => {});
    return new ProcessGroup(child, () => tell("remove"));
  }

  /** Ends the reaper: all groups have ended. */
  close(): void {
    this.reaper.stdin.end();
  }
}

/** A command that runs, with all that it has started. */
export class ProcessGroup {
  /** Resolves when no process of the group is left. */
  readonly ended: Promise<ProcessEnd>;
  private isAskedToEnd = false;

  constructor(
    private readonly child: ChildProcess,
    onEnd: () => void,
  ) {
    this.ended = this.waitForEnd().finally(onEnd);
  }

  get stdout(): Readable {
    return this.child.stdout as Readable;
  }

  get stderr(): Readable {
    return this.child.stderr as Readable;
  }

  /** Writes to its stdin. */
  write(text: string): void {
    this.child.stdin?.write(text);
  }

  /** Asks all processes of the group to end, by SIGTERM. */
  terminate(): void {
    this.isAskedToEnd = true;
    this.signal("SIGTERM");
  }

  /** Ends all processes of the group at once. */
  kill(): void {
    this.signal("SIGKILL");
  }

  private async waitForEnd(): Promise<ProcessEnd> {
    const closed = once(this.child, "close");
    const [code, signal] = (await once(this.child, "exit")) as [
      ProcessEnd["code"],
      ProcessEnd["signal"],
    ];
    // A shell ends at once when it is asked to, and what it has started may take its time.
    while (this.isAskedToEnd && this.signal(0) && hasLiving(this.child.pid as number)) {
      await delay(lookMs);
    }
    this.kill();
    await Promise.race([closed, delay(1_000, undefined, { ref: false })]);
    return { code, signal };
  }

  /** False when no process is left. */
  private signal(signal: NodeJS.Signals | 0): boolean {
    try {
      return process.kill(-(this.child.pid as number), signal);
    } catch {
      return false;
    }
  }
}

/**
 * False when all processes of a group have ended, and wait for a parent to notice: in a container
 * whose first process notices nothing, they wait for ever.
 */
function hasLiving(group: number): boolean {
  if (process.platform !== "linux") {
    return true;
  }
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .some((pid) => {
      try {
        const [state, , its] = statOf(Number(pid));
        return its === `${group}` && state !== "Z" && state !== "X";
      } catch {
        // It has ended meanwhile.
        return false;
      }
    });
}
