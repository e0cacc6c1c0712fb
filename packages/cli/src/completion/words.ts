import type { Command } from "commander";

/** The words that may follow those of a command. */
export interface Words {
  /** `dead list`; empty for the program itself. */
  readonly command: string;
  readonly subcommands: readonly Word[];
  readonly options: readonly Word[];
}

/** A word, and what it does. */
interface Word {
  readonly word: string;
  readonly description: string;
}

/** The words that may follow each command of a program. */
export function wordsOf(program: Command): Words[] {
  const visit = (command: Command, path: readonly string[]): Words[] => {
    const help = command.createHelp();
    const subcommands = help.visibleCommands(command);
    return [
      {
        command: path.join(" "),
        subcommands: subcommands.map((each) => ({
          word: each.name(),
          description: each.description(),
        })),
        options: help
          .visibleOptions(command)
          .flatMap(({ long, description }) => (long ? [{ word: long, description }] : [])),
      },
      ...command.commands.flatMap((each) => visit(each, [...path, each.name()])),
    ];
  };
  return visit(program, []);
}
