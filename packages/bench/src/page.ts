import { formatMarkdown, type Table } from "./report.js";

/**
 * Replaces tables of a page in Markdown: each stands below a comment `<!-- bench: title -->`
 * and an empty line, and ends with the next empty line. A table that is not in the result
 * stays. Also tells the titles of tables that the page has no place for.
 */
export function replaceTables(
  page: string,
  tables: readonly Table[],
): { readonly page: string; readonly unplaced: readonly string[] } {
  const unplaced: string[] = [];
  let replaced = page;
  for (const { title, lines } of tables) {
    const mark = `<!-- bench: ${title} -->\n\n`;
    const start = replaced.indexOf(mark);
    if (start < 0) {
      unplaced.push(title);
      continue;
    }
    const before = replaced.slice(0, start + mark.length);
    const after = replaced.slice(start + mark.length).replace(/^(?:\|.*\n)*/, "");
    replaced = `${before}${formatMarkdown(lines)}\n${after}`;
  }
  return { page: replaced, unplaced };
}
