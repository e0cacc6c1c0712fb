import { readFileSync } from "node:fs";
import { join } from "node:path";

const folder = join(import.meta.dirname, "../fixtures");

/** A file of fixtures/. */
export function fixture(name: string): Buffer {
  return readFileSync(join(folder, name));
}

/** The lines of each picture of text in fixtures/. */
export const texts: Record<string, string[]> = JSON.parse(fixture("texts.json").toString());

/** How many letters of the text of a picture must be changed, at least, per letter of it. */
export function errorRate(name: string, read: string): number {
  const text = plain((texts[name] ?? []).join("\n"));
  const letters = [...plain(read)];
  let previous = Array.from({ length: letters.length + 1 }, (_, i) => i);
  for (const [i, letter] of [...text].entries()) {
    const row = [i + 1];
    for (const [j, other] of letters.entries()) {
      const changed = (previous[j] ?? 0) + (letter === other ? 0 : 1);
      row.push(Math.min((previous[j + 1] ?? 0) + 1, (row[j] ?? 0) + 1, changed));
    }
    previous = row;
  }
  return (previous.at(-1) ?? 0) / text.length;
}

/** Without what a reader may write in more ways than one: quotes, dashes and empty lines. */
function plain(text: string): string {
  return text
    .replace(/[“”„«»]|''|‘‘|’’/g, '"')
    .replace(/[‘’]/g, "'")
    .replace(/[—–]/g, "-")
    .replace(/[ \t]+/g, " ")
    .replace(/ ?\n[ \n]*/g, "\n")
    .trim();
}
