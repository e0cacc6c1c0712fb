import { Argument, Command } from "commander";
import { bashCompletion } from "../completion/bash.js";
import { fishCompletion } from "../completion/fish.js";
import { wordsOf } from "../completion/words.js";
import { zshCompletion } from "../completion/zsh.js";
import { host } from "../host.js";

const shells = { bash: bashCompletion, zsh: zshCompletion, fish: fishCompletion };

/** `jetrpc completion SHELL`: a script that completes commands and options. */
export function completionCommand(program: Command): Command {
  return new Command("completion")
    .addArgument(new Argument("<shell>", "the shell").choices(Object.keys(shells)))
    .action((shell: keyof typeof shells) => {
      host().stdout.write(shells[shell](wordsOf(program)));
    });
}
