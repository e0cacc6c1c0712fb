import type { Words } from "./words.js";

/** A script for fish: `jetrpc completion fish | source`. */
export function fishCompletion(all: readonly Words[]): string {
  const lines = all.flatMap(({ command, subcommands, options }) => {
    const condition = `-n "test (__jetrpc_command) = '${command}'"`;
    return [
      ...subcommands.map(
        ({ word, description }) =>
          `complete -c jetrpc ${condition} -f -a ${word} -d ${quote(description)}`,
      ),
      ...options.map(
        ({ word, description }) =>
          `complete -c jetrpc ${condition} -l ${word.slice(2)} -d ${quote(description)}`,
      ),
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
complete -c jetrpc -n 'string match -qr "^(call|dead|pause|resume)" (__jetrpc_command)' -f -a '(jetrpc complete -- (commandline -opc)[2..] (commandline -ct) 2>/dev/null)'
`;
}

function quote(text: string): string {
  return `'${text.replace(/['\\]/g, "\\$&")}'`;
}
