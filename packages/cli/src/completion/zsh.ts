import { askingCommands, askingOptions, otherOptions, type Words } from "./words.js";

/** A script for zsh, to be read after `compinit`: `source <(jetrpc completion zsh)`. */
export function zshCompletion(all: readonly Words[]): string {
  const cases = all.map(({ command, subcommands, options }) => {
    const words = [...subcommands, ...options].map(({ word, description }) =>
      quote(`${word}:${description.replaceAll(":", "\\:")}`),
    );
    return `    (${quote(command)}) offered=(${words.join(" ")}) ;;`;
  });
  return `#compdef jetrpc
_jetrpc() {
  local command="" asks="" word longer
  local -a offered values
  for word in "\${(@)words[2,CURRENT-1]}"; do
    longer="\${command:+$command }$word"
    case "$longer" in
      (${alternatives(all.map(({ command }) => command))}) command="$longer" ;;
    esac
  done
  case "$command" in
${cases.join("\n")}
  esac
  case "\${words[CURRENT-1]}" in
    (${alternatives(askingOptions)}) offered=() asks=yes ;;
    (${alternatives(otherOptions(all))}) offered=() ;;
    (*)
      case "$command" in
        (${alternatives(askingCommands)}) asks=yes ;;
      esac ;;
  esac
  if [[ -n "$asks" && "\${words[CURRENT]}" != -* ]]; then
    values=("\${(@f)$(jetrpc complete -- "\${(@)words[2,CURRENT]}" 2>/dev/null)}")
    compadd -- "\${(@)values:#}" && return
  fi
  _describe jetrpc offered || _files
}
compdef _jetrpc jetrpc
`;
}

/** Patterns of \`case\`: any of some words. */
function alternatives(words: readonly string[]): string {
  return words.map(quote).join("|");
}

function quote(text: string): string {
  return `'${text.replaceAll("'", `'\\''`)}'`;
}
