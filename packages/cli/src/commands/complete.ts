import { Command } from "commander";
import { readLine } from "../completion/line.js";
import { valuesFor } from "../completion/values.js";
import { print } from "../output.js";

/** A shell waits for it: nothing is better than late, in ms. */
const patienceMs = 3_000;

/** `jetrpc complete -- WORDS`: what the last word may become. The scripts of `completion` run it. */
export function completeCommand(program: Command): Command {
  return new Command("complete")
    .argument("[words...]")
    .action((words: string[]) => complete(program, words));
}

async function complete(program: Command, words: readonly string[]): Promise<void> {
  const late = new Promise<string[]>((resolve) => {
    setTimeout(() => resolve([]), patienceMs).unref();
  });
  // A person who types wants no error of what is not there.
  const values = await Promise.race([valuesFor(readLine(program, words)).catch(() => []), late]);
  for (const value of values) {
    print(value);
  }
}
