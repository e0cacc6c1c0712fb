import { bashCompletion } from "./bash.js";
import type { Words } from "./words.js";

/** A script for zsh, which runs bash's: `source <(jetrpc completion zsh)`. */
export function zshCompletion(all: readonly Words[]): string {
  return `autoload -Uz bashcompinit && bashcompinit\n${bashCompletion(all)}`;
}
