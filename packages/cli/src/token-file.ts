import { readFileSync } from "node:fs";
import { UsageError } from "./exit-code.js";
import { oneLine } from "./output.js";

/**
 * The file of `--tokens`: a list of what `maker` prints. Throws UsageError for a file that cannot be
 * read, and for an entry that is no token: it would let in whom nobody meant.
 */
export function readTokenFile<T>(
  path: string,
  isToken: (value: unknown) => value is T,
  fields: string,
  maker: string,
): T[] {
  let tokens: unknown;
  try {
    tokens = JSON.parse(readFileSync(path, "utf8"));
  } catch (cause) {
    throw new UsageError(`--tokens ${path} cannot be read: ${oneLine(String(cause))}`);
  }
  if (!Array.isArray(tokens) || !tokens.every(isToken)) {
    throw new UsageError(`--tokens ${path} is to be a list of ${fields}: \`${maker}\` makes each`);
  }
  return tokens;
}
