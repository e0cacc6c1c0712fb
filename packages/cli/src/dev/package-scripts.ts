import { readFileSync } from "node:fs";
import { UsageError } from "../exit-code.js";
import type { Command } from "./supervised.js";

/** The scripts of package.json in this folder, by their names; none without the file. */
export function readScripts(): Readonly<Record<string, string>> {
  let text: string;
  try {
    text = readFileSync("package.json", "utf8");
  } catch {
    return {};
  }
  try {
    return (JSON.parse(text) as { scripts?: Record<string, string> }).scripts ?? {};
  } catch (cause) {
    throw new UsageError(`package.json is no JSON (${(cause as Error).message}): correct it`);
  }
}

/**
 * What `jetrpc dev` runs: the workers that are given, or else the scripts `worker` and `worker:…`;
 * and the scripts `dev:…`. Throws UsageError when there is no worker, and for one without a command.
 */
export function commandsOf(
  scripts: Readonly<Record<string, string>>,
  given: readonly string[] = [],
): Command[] {
  const workers =
    given.length > 0
      ? given.map((command, index) => ({
          name: given.length > 1 ? `worker ${index + 1}` : "worker",
          command,
        }))
      : Object.entries(scripts)
          .filter(([name]) => name === "worker" || name.startsWith("worker:"))
          .map(([name, command]) => ({ name: name.replace(/^worker:(?=.)/, ""), command }));
  if (workers.length === 0) {
    throw new UsageError(
      'no worker: write a script "worker" (or several, "worker:NAME") into package.json, such as "worker": "tsx src/worker.ts", or give --worker "tsx src/worker.ts"',
    );
  }
  const others = Object.entries(scripts)
    .filter(([name]) => name.startsWith("dev:"))
    .map(([name, command]) => ({ name: name.slice("dev:".length), command, isWorker: false }));
  const all = [...workers.map((worker) => ({ ...worker, isWorker: true })), ...others];
  const empty = all.find(({ command }) => typeof command !== "string" || command.trim() === "");
  if (empty) {
    throw new UsageError(`${empty.name} has no command: correct its script in package.json`);
  }
  return all;
}
