import type { Words } from "./words.js";

/** A script for bash, which asks for names of methods and ids of calls: `source <(jetrpc completion bash)`. */
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
  case "$command \${COMP_WORDS[COMP_CWORD-1]}" in
    call" "*|calls" "*|dead" "*|pause" "*|resume" "*|*" --method"|*" --service")
      if [[ "$current" != -* ]]; then
        words="$words $(jetrpc complete -- "\${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null)"
      fi ;;
  esac
  COMPREPLY=($(compgen -W "$words" -- "$current"))
}
complete -o default -F _jetrpc jetrpc
`;
}
