import { Argument, Command } from "commander";
import { bashCompletion } from "../completion/bash.js";
import { fishCompletion } from "../completion/fish.js";
import { wordsOf } from "../completion/words.js";
import { zshCompletion } from "../completion/zsh.js";

const shells = { bash: bashCompletion, zsh: zshCompletion, fish: fishCompletion };

/** `jetrpc completion SHELL`: a script that completes commands and options. */
export function completionCommand(program: Command): Command {
  return new Command("completion")
    .description("print a script that lets a shell complete commands and options")
    .addArgument(new Argument("<shell>", "the shell").choices(Object.keys(shells)))
    .action((shell: keyof typeof shells) => {
      process.stdout.write(shells[shell](wordsOf(program)));
    });
}
