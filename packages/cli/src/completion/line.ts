import type { Command } from "commander";

/** The words of a command line, up to the one that is being typed. */
export interface Line {
  /** `calls show`; empty for the program itself. */
  readonly command: string;
  /** How many arguments stand before the last word. */
  readonly arguments: number;
  readonly options: ReadonlyMap<string, string>;
  /** The option whose value the last word is. */
  readonly option: string | undefined;
  readonly begun: string;
}

/** Reads the words behind `jetrpc`, of which the last may be empty. */
export function readLine(program: Command, words: readonly string[]): Line {
  let command = program;
  const path: string[] = [];
  const options = new Map<string, string>();
  let count = 0;
  let option: string | undefined;
  for (const word of words.slice(0, -1)) {
    const subcommand = command.commands.find((each) => each.name() === word);
    if (option !== undefined) {
      options.set(option, word);
      option = undefined;
    } else if (word.startsWith("-")) {
      const known = command.options.find(({ long, short }) => word === long || word === short);
      option = known?.required ? known.long : undefined;
    } else if (subcommand && count === 0) {
      command = subcommand;
      path.push(word);
    } else {
      count++;
    }
  }
  return { command: path.join(" "), arguments: count, options, option, begun: words.at(-1) ?? "" };
}
