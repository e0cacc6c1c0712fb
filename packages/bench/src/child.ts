import { type ChildProcess, fork } from "node:child_process";
import { fileURLToPath } from "node:url";

/** A process of this package: it answers one message by one, and ends with this one. */
export class Child {
  private readonly process: ChildProcess;
  private readonly exited: Promise<void>;
  private isStopping = false;
  private failure: Error | undefined;
  private wake: (() => void) | undefined;
  private readonly heard: unknown[] = [];

  /**
   * Starts `file`, which lies beside this one when built. `name` is for errors, `execArgv` are
   * options of Node.
   */
  constructor(
    name: string,
    file: string,
    args: readonly string[],
    execArgv: readonly string[] = [],
  ) {
    this.process = fork(fileURLToPath(new URL(file, import.meta.url)), args, {
      execArgv: [...process.execArgv, ...execArgv],
    });
    this.process.on("message", (message) => {
      this.heard.push(message);
      this.wake?.();
    });
    this.exited = new Promise((resolve) => {
      this.process.once("exit", (code) => {
        if (!this.isStopping) {
          this.failure = new Error(`${name}: its process ended with exit code ${code}`);
          this.wake?.();
        }
        resolve();
      });
    });
  }

  get pid(): number {
    return this.process.pid ?? 0;
  }

  async next(): Promise<unknown> {
    while (this.heard.length === 0) {
      if (this.failure) {
        throw this.failure;
      }
      await new Promise<void>((resolve) => {
        this.wake = resolve;
      });
    }
    return this.heard.shift();
  }

  async ask(message: string | object): Promise<unknown> {
    this.process.send(message);
    return this.next();
  }

  async stop(): Promise<void> {
    this.isStopping = true;
    if (this.process.connected) {
      this.process.disconnect();
    }
    await this.exited;
  }
}
