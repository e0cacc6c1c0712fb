import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { afterEach, expect } from "vitest";
import { until } from "./support.js";

/** A script of this folder that runs in a process of its own. */
export interface TestProcess {
  readonly child: ChildProcess;
  /** All lines that the process has said. */
  readonly heard: readonly string[];
  /** Waits until the process has said something. */
  says(line: string): Promise<void>;
  /** The first line that is looked for, once the process has said it. */
  hears(isIt: (line: string) => boolean): Promise<string | undefined>;
  /** Gives the process a line to read. */
  write(line: string): void;
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
  return (script: string, env: Record<string, string>, ...args: string[]): TestProcess => {
    const self = startProcess(script, env, ...args);
    started.push(self);
    return self;
  };
}

/** Starts a script of this folder. It reads its standard input, and ends when that ends. */
export function startProcess(
  script: string,
  env: Record<string, string>,
  ...args: string[]
): TestProcess {
  const child = spawn(process.execPath, [join(import.meta.dirname, script), ...args], {
    env: { ...process.env, ...env },
    stdio: ["pipe", "pipe", "inherit"],
  });
  child.stdin.on("error", () => undefined);
  const heard: string[] = [];
  createInterface({ input: child.stdout }).on("line", (line) => heard.push(line));
  const hasEnded = () => child.exitCode !== null || child.signalCode !== null;
  return {
    child,
    heard,
    async says(line) {
      await until(() => heard.includes(line) || hasEnded());
      expect(heard).toContain(line);
    },
    async hears(isIt) {
      await until(() => heard.some(isIt) || hasEnded());
      return heard.find(isIt);
    },
    write: (line) => void child.stdin.write(`${line}\n`),
    signal: (signal) => void child.kill(signal),
    async end(signal) {
      if (!hasEnded()) {
        const exit = once(child, "exit");
        child.kill(signal);
        await exit;
      }
      return child.exitCode;
    },
  };
}
