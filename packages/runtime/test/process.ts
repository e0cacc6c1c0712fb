import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { afterEach, expect } from "vitest";
import { until } from "./support.js";

/** A script of this folder that runs in a process of its own. */
export interface TestProcess {
  readonly child: ChildProcess;
  /** Waits until the process has said something. */
  says(line: string): Promise<void>;
  /** Sends a signal. */
  signal(signal: NodeJS.Signals): void;
  /** Ends the process and tells its exit code. */
  end(signal: NodeJS.Signals): Promise<number | null>;
}

/** Starts scripts of this folder, and kills after each test what is left of them. */
export function useProcesses() {
  const started: TestProcess[] = [];
  afterEach(async () => {
    for (const each of started.splice(0)) {
      await each.end("SIGKILL");
    }
  });
  return (script: string, url: string, ...args: string[]): TestProcess => {
    const child = spawn(process.execPath, [join(import.meta.dirname, script), ...args], {
      env: { ...process.env, NATS_URL: url },
      stdio: ["pipe", "pipe", "inherit"],
    });
    const heard: string[] = [];
    createInterface({ input: child.stdout }).on("line", (line) => heard.push(line));
    const self: TestProcess = {
      child,
      async says(line) {
        await until(() => heard.includes(line) || child.exitCode !== null);
        expect(heard).toContain(line);
      },
      signal: (signal) => void child.kill(signal),
      async end(signal) {
        if (child.exitCode === null && child.signalCode === null) {
          const exit = once(child, "exit");
          child.kill(signal);
          await exit;
        }
        return child.exitCode;
      },
    };
    started.push(self);
    return self;
  };
}
