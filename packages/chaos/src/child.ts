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

/** A worker or client in a process of its own. */
export class Child {
  private readonly exited: Promise<unknown>;

  private constructor(private readonly process: ChildProcess) {
    this.exited = once(process, "exit").then(() => {
      const watcher = process.stdio[4] as { end(text: string): void } | null;
      watcher?.end("\n");
    });
    process.stdio[4]?.on("error", () => undefined);
    process.on("error", () => undefined);
  }

  /** Starts `<script>.js` with the servers that it connects to; `log` gets its stderr. */
  static start(
    script: "worker" | "client",
    env: Record<string, string>,
    log: BoundedLog,
    hear: (message: unknown) => void,
  ): Child {
    const path = fileURLToPath(new URL(`${script}.js`, import.meta.url));
    const child = spawn("/bin/sh", ["-c", launcher, script, process.execPath, path], {
      env: { ...process.env, ...env },
      stdio: ["ignore", "ignore", "pipe", "ipc", "pipe"],
    });
    child.stderr?.on("data", (text) => log.write(text));
    child.on("message", hear);
    return new Child(child);
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

  /** Waits until it has ended; kills it after 15 s. */
  async end(signal: NodeJS.Signals): Promise<void> {
    if (this.isRunning) {
      this.signal(signal);
      this.signal("SIGCONT");
    }
    const timer = setTimeout(() => this.signal("SIGKILL"), 15_000);
    await this.exited;
    clearTimeout(timer);
  }
}
