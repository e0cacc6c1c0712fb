import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import type { BoundedLog } from "./evidence.js";

/**
 * Runs a program, which a watcher kills when this process is gone, however it
 * went: a program that stands still would not notice.
 */
const launcher = `
( read -r _ <&4 && exit; kill -9 $$ ) &
exec 4<&-
exec "$@"
`;

/** The last output of a process is kept up to this length, in characters. */
const lastWords = 2_000;

/** A worker or client in a process of its own. */
export class Child {
  private readonly exited: Promise<unknown>;
  private isExpected = false;
  private words = "";

  private constructor(
    private readonly process: ChildProcess,
    private readonly crashed: (why: string) => void,
  ) {
    this.exited = once(process, "exit").then(() => {
      const watcher = process.stdio[4] as { end(text: string): void } | null;
      watcher?.end("\n");
    });
    process.stdio[4]?.on("error", () => undefined);
    process.on("error", () => undefined);
    process.stderr?.on("data", (text) => {
      this.words = (this.words + text).slice(-lastWords);
    });
    process.on("close", (code) => this.judgeExit(code));
  }

  /**
   * Starts `<script>.js` with the servers that it connects to; `log` gets its stderr,
   * `crashed` is told when it ends by a mistake of its own, and `hear` what it says.
   */
  static start(
    script: string,
    env: Record<string, string>,
    log: BoundedLog,
    crashed: (why: string) => void,
    hear: (message: unknown) => void = () => undefined,
  ): Child {
    const path = fileURLToPath(new URL(`${script}.js`, import.meta.url));
    const child = spawn("/bin/sh", ["-c", launcher, script, process.execPath, path], {
      env: { ...process.env, ...env },
      stdio: ["ignore", "ignore", "pipe", "ipc", "pipe"],
    });
    child.stderr?.on("data", (text) => log.write(text));
    child.on("message", hear);
    return new Child(child, (why) => crashed(`a ${script} ${why}`));
  }

  get isRunning(): boolean {
    return this.process.exitCode === null && this.process.signalCode === null;
  }

  signal(signal: NodeJS.Signals): void {
    this.process.kill(signal);
  }

  send(message: string): void {
    if (this.process.connected) {
      this.process.send(message, () => undefined);
    }
  }

  /** Says that it is to end by itself now. */
  mayEnd(): void {
    this.isExpected = true;
  }

  /** Waits until it has ended; kills it after 15 s. */
  async end(signal: NodeJS.Signals): Promise<void> {
    this.isExpected = true;
    if (this.isRunning) {
      this.signal(signal);
      this.signal("SIGCONT");
    }
    const timer = setTimeout(() => this.signal("SIGKILL"), 15_000);
    await this.exited;
    clearTimeout(timer);
  }

  /** A call may have it killed; everything else that ends it unasked is a mistake. */
  private judgeExit(code: number | null): void {
    if (code !== null && (code !== 0 || !this.isExpected)) {
      // The error that it threw, without its log records.
      const words = this.words.split("\n").filter((line) => !/^(\{|\s*$)|"time":/.test(line));
      this.crashed(`ended by itself with exit code ${code}: ${words.join("\n")}`);
    }
  }
}
