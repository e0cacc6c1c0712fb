import { spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { Code, ConnectError } from "@jetrpc/runtime";

/** A worker of services/pdf or services/image in a process of its own. */
export interface WorkerProcess extends AsyncDisposable {
  readonly pid: number;
  /** Resolves when it takes calls. */
  readonly ready: Promise<void>;
  /** Ends it as a crash does. */
  kill(): Promise<void>;
  /** Ends it as a crash does, and starts another one, which ends with this one. */
  restart(): Promise<void>;
}

/**
 * Starts a worker, with more environment than this process has if need be. Resolves when
 * it takes calls, or at once when it need not wait.
 */
export async function startWorker(
  url: string,
  options: { waits?: boolean; env?: NodeJS.ProcessEnv; service?: "pdf" | "image" } = {},
): Promise<WorkerProcess> {
  const { waits = false, env = {}, service = "pdf" } = options;
  const main = join(import.meta.dirname, `../../services/${service}/dist/main.js`);
  const child = spawn(process.execPath, [main], {
    // The pipe of stdin ends with this process, and the worker with the pipe.
    stdio: ["pipe", "pipe", "inherit"],
    env: {
      ...process.env,
      NATS_URL: url,
      [`${service.toUpperCase()}_EXIT_WITH_STDIN`]: "1",
      ...env,
    },
  });
  const exited = once(child, "exit");
  const ready = Promise.race([
    once(child.stdout, "data").then(() => undefined),
    exited.then(([code]) => {
      throw new ConnectError(
        `the worker of services/${service} ended with code ${code} before it was ready: it says why above`,
        Code.FailedPrecondition,
      );
    }),
  ]);
  ready.catch(() => undefined);
  const end = async (signal: NodeJS.Signals) => {
    child.kill(signal);
    await exited;
  };
  if (!waits) {
    await ready;
  }
  let next: WorkerProcess | undefined;
  const worker: WorkerProcess = {
    pid: child.pid as number,
    ready,
    kill: () => (next ? next.kill() : end("SIGKILL")),
    async restart() {
      await worker.kill();
      next = await startWorker(url, options);
    },
    async [Symbol.asyncDispose]() {
      await next?.[Symbol.asyncDispose]();
      if (child.exitCode === null && child.signalCode === null) {
        await end("SIGTERM");
      }
    },
  };
  return worker;
}
