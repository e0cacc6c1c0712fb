import { UsageError } from "../exit-code.js";

/**
 * Refuses to change many calls at once unless somebody says which: by a filter, or `--all`, and not
 * by both. Throws UsageError.
 */
export function refuseUnclear(
  all: boolean | undefined,
  given: readonly unknown[],
  { filters, list }: { readonly filters: string; readonly list: string },
): void {
  if (given.some((value) => value !== undefined) === Boolean(all)) {
    throw new UsageError(`say which: ${filters}, or --all (see them with \`${list}\`)`);
  }
}
