import { askingCommands, askingOptions, otherOptions, type Words } from "./words.js";

/** A script for bash, which asks for names of methods and ids of calls: `source <(jetrpc completion bash)`. */
export function bashCompletion(all: readonly Words[]): string {
  const cases = all.map(({ command, subcommands, options }) => {
    const words = [...subcommands, ...options].map(({ word }) => word).join(" ");
    return `    "${command}") words="${words}" ;;`;
  });
  return `_jetrpc() {
  # Bash ends a word at : and = as well: what stands together in the line is one word.
  local all=() last=-1 line="$COMP_LINE" word i
  for ((i = 0; i <= COMP_CWORD; i++)); do
    word="\${COMP_WORDS[i]}"
    if [[ $last -lt 0 || "$line" == [[:space:]]* ]]; then
      last=$((last + 1))
      line="\${line#"\${line%%[![:space:]]*}"}"
    fi
    all[last]="\${all[last]}$word"
    line="\${line#"$word"}"
  done
  # What stands before the part that readline replaces.
  local current="\${all[last]}" head="\${all[last]%"$word"}" command="" words="" longer
  [[ "$word" == [:=]* ]] && head="$current"
  for ((i = 1; i < last; i++)); do
    longer="\${command:+$command }\${all[i]}"
    case "$longer" in
      ${alternatives(all.map(({ command }) => command))}) command="$longer" ;;
    esac
  done
  case "$command" in
${cases.join("\n")}
  esac
  local previous="\${all[last - 1]}" asks=""
  case "$previous" in
    ${alternatives(askingOptions)}) words="" asks=yes ;;
    ${alternatives(otherOptions(all))}) words="" ;;
    *)
      case "$command" in
        ${alternatives(askingCommands)}) asks=yes ;;
      esac ;;
  esac
  if [[ -n "$asks" && "$current" != -* ]]; then
    words="$words $(jetrpc complete -- "\${all[@]:1}" 2>/dev/null)"
  fi
  COMPREPLY=($(compgen -W "$words" -- "$current"))
  COMPREPLY=("\${COMPREPLY[@]#"$head"}")
}
complete -o default -F _jetrpc jetrpc
`;
}

/** Patterns of \`case\`: any of some words. */
function alternatives(words: readonly string[]): string {
  return words.map((word) => `"${word}"`).join("|");
}
