import type { Command } from "commander";

/** Commands whose first argument is a name or an id that is asked for. */
export const askingCommands = ["call", "pause", "resume"].concat(
  ["show", "follow", "result", "cancel"].map((verb) => `calls ${verb}`),
  ["list", "show", "replay", "discard"].map((verb) => `dead ${verb}`),
);

/** Options whose value is asked for. */
export const askingOptions = ["--method", "--service"];

/** The words that may follow those of a command. */
export interface Words {
  /** `dead list`; empty for the program itself. */
  readonly command: string;
  readonly subcommands: readonly Word[];
  readonly options: readonly OptionWord[];
}

/** A word, and what it does. */
interface Word {
  readonly word: string;
  readonly description: string;
}

interface OptionWord extends Word {
  readonly takesValue: boolean;
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
          .flatMap(({ long, description, required }) =>
            long ? [{ word: long, description, takesValue: required }] : [],
          ),
      },
      ...command.commands.flatMap((each) => visit(each, [...path, each.name()])),
    ];
  };
  return visit(program, []);
}

/** Options of any command that have a value which is not asked for. */
export function otherOptions(all: readonly Words[]): string[] {
  const options = all.flatMap((words) => words.options.filter(({ takesValue }) => takesValue));
  return [...new Set(options.map(({ word }) => word))].filter(
    (word) => !askingOptions.includes(word),
  );
}
