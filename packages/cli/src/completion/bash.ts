import type { Words } from "./words.js";

/** A script for bash: `source <(jetrpc completion bash)`. */
export function bashCompletion(all: readonly Words[]): string {
  const cases = all.map(({ command, subcommands, options }) => {
    const words = [...subcommands, ...options].map(({ word }) => word).join(" ");
    return `    "${command}") words="${words}" ;;`;
  });
  const commands = all.map(({ command }) => `"${command}"`).join("|");
  return `_jetrpc() {
  local current="\${COMP_WORDS[COMP_CWORD]}" command="" words="" i
  for ((i = 1; i < COMP_CWORD; i++)); do
    local longer="\${command:+$command }\${COMP_WORDS[i]}"
    case "$longer" in
      ${commands}) command="$longer" ;;
    esac
  done
  case "$command" in
${cases.join("\n")}
  esac
  COMPREPLY=($(compgen -W "$words" -- "$current"))
}
complete -o default -F _jetrpc jetrpc
`;
}
