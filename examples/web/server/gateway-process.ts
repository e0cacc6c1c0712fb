import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { Code, ConnectError } from "@jetrpc/runtime";

/** A gateway in a process of its own. */
export class GatewayProcess implements AsyncDisposable {
  private child: ChildProcess | undefined;
  /** Its address, the same after a restart. */
  url = "";

  constructor(private readonly env: NodeJS.ProcessEnv) {}

  /** Starts it. Rejects when it does not come to listen. */
  async start(): Promise<void> {
    const child = spawn(
      process.execPath,
      ["--import", "tsx", join(import.meta.dirname, "gateway.ts")],
      {
        // The pipe of stdin ends with this process, and the gateway with the pipe.
        stdio: ["pipe", "pipe", "inherit"],
        env: {
          ...process.env,
          ...this.env,
          WEB_PORT: this.url ? new URL(this.url).port : "0",
        },
      },
    );
    this.child = child;
    this.url = await Promise.race([
      once(child.stdout, "data").then(([data]) => String(data).trim()),
      once(child, "exit").then(([code]) => {
        throw new ConnectError(
          `the gateway ended with code ${code} before it listened: it says why above`,
          Code.FailedPrecondition,
        );
      }),
    ]);
  }

  /** Ends it as a crash does. */
  async kill(): Promise<void> {
    const { child } = this;
    if (child && child.exitCode === null && child.signalCode === null) {
      const exited = once(child, "exit");
      child.kill("SIGKILL");
      await exited;
    }
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.kill();
  }
}
