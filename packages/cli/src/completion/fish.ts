import { askingCommands, askingOptions, type Words } from "./words.js";

/** Asks for names of methods and ids of calls. */
const asks = "'(jetrpc complete -- (commandline -opc)[2..] (commandline -ct) 2>/dev/null)'";

/** No option is being typed. */
const noOption = `-n "not string match -q -- '-*' (commandline -ct)"`;

/** A script for fish: `jetrpc completion fish | source`. */
export function fishCompletion(all: readonly Words[]): string {
  const lines = all.flatMap(({ command, subcommands, options }) => {
    const condition = `-n "test (__jetrpc_command) = '${command}'"`;
    return [
      ...subcommands.map(
        ({ word, description }) =>
          `complete -c jetrpc ${condition} -f -a ${word} -d ${quote(description)}`,
      ),
      ...options.map(({ word, description, takesValue }) => {
        const value = askingOptions.includes(word) ? ` -x -a ${asks}` : takesValue ? " -r" : "";
        return `complete -c jetrpc ${condition} -l ${word.slice(2)}${value} -d ${quote(description)}`;
      }),
      ...(askingCommands.includes(command)
        ? [`complete -c jetrpc ${condition} ${noOption} -f -a ${asks}`]
        : []),
    ];
  });
  const commands = all.map(({ command }) => quote(command)).join(" ");
  return `function __jetrpc_command
  set -l command
  for word in (commandline -opc)[2..]
    set -l longer (string trim "$command $word")
    if contains -- "$longer" ${commands}
      set command "$longer"
    end
  end
  echo "$command"
end
${lines.join("\n")}
`;
}

function quote(text: string): string {
  return `'${text.replace(/['\\]/g, "\\$&")}'`;
}
