import { isInForeground } from "./callers.js";
import { host, onHost } from "./host.js";

/**
 * Tells of each Enter on the terminal or from a pipe, until what it returns is called. A command in
 * the background does not read: the terminal would stop it.
 */
export function onEnter(tell: () => void): () => void {
  const { stdin } = host();
  const readInForeground = () => {
    if (stdin.isTTY !== true || isInForeground()) {
      stdin.resume();
    } else {
      stdin.pause();
    }
  };
  // The terminal may be gone.
  stdin.on("data", onHost(tell)).on("error", () => {});
  readInForeground();
  // `fg` and `bg` of the shell send it.
  process.on("SIGCONT", readInForeground);
  return () => {
    process.off("SIGCONT", readInForeground);
    stdin.pause();
  };
}
