import { readFileSync } from "node:fs";
import { join } from "node:path";

const docs = join(import.meta.dirname, "../../../docs");

/** The rows of the first table below a heading of a page, their cells by the names of columns. */
export function readTable(page: string, heading: string): Record<string, string>[] {
  const text = readFileSync(join(docs, page), "utf8");
  const lines = text.slice(text.indexOf(`\n## ${heading}\n`)).split("\n");
  const start = lines.findIndex((line) => line.startsWith("|"));
  const rows: string[][] = [];
  for (const line of lines.slice(start)) {
    if (!line.startsWith("|")) {
      break;
    }
    rows.push(
      line
        .split("|")
        .slice(1, -1)
        .map((cell) => cell.trim()),
    );
  }
  const [names = [], , ...cells] = rows;
  return cells.map((row) => Object.fromEntries(names.map((name, i) => [name, row[i] ?? ""])));
}
