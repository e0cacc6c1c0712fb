import { host } from "./host.js";

/** Other cells are not cut to fewer characters while an id of a call is shown whole. */
const legible = 4;

/** Writes a line to stdout. */
export function print(line = ""): void {
  host().stdout.write(`${line}\n`);
}

/** Writes a JSON value to stdout, on one line. */
export function printJson(value: unknown): void {
  print(JSON.stringify(value));
}

/**
 * Writes rows as columns with two spaces between, under their titles. On a terminal the widest
 * cells are cut so that a row is a line; ids of calls last, as they are there to be copied.
 */
export function printTable(titles: readonly string[], rows: readonly (readonly string[])[]): void {
  const { isTTY, columns } = host().stdout;
  for (const line of tableOf(titles, rows, isTTY && columns ? columns : undefined)) {
    print(line);
  }
}

/** The lines of a table, each with `width` characters at most. */
export function tableOf(
  titles: readonly string[],
  rows: readonly (readonly string[])[],
  width = Number.POSITIVE_INFINITY,
): string[] {
  const all = [titles, ...rows];
  const widths = titles.map((_, column) =>
    all.reduce((most, row) => Math.max(most, row[column]?.length ?? 0), 0),
  );
  const gaps = 2 * (titles.length - 1);
  for (let over = sum(widths) + gaps - width; over > 0; over--) {
    const others = widths.map((each, column) => (titles[column] === "CALL ID" ? 0 : each));
    const cuttable = Math.max(...others) > legible ? others : widths;
    const widest = cuttable.indexOf(Math.max(...cuttable));
    widths[widest] = Math.max((widths[widest] ?? 0) - 1, 1);
    if (sum(widths) === widths.length) {
      break;
    }
  }
  return all.map((row) =>
    row
      .map((cell, column) => cut(cell, widths[column] ?? 0).padEnd(widths[column] ?? 0))
      .join("  ")
      .trimEnd()
      .slice(0, width),
  );
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, each) => total + each, 0);
}

function cut(text: string, width: number): string {
  return text.length <= width ? text : `${text.slice(0, Math.max(0, width - 1))}…`;
}

/** A text of somebody else, with its lines: without what a terminal would obey. */
export function plain(text: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is taken out
  return text.replaceAll(/[\x00-\x08\x0b-\x1f\x7f-\x9f]/g, " ");
}

/** A text of somebody else on one line: without what a terminal would obey. */
export function oneLine(text: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is taken out
  return text.replaceAll(/[\s\x00-\x1f\x7f-\x9f]+/g, " ");
}

/** Writes to stderr what a command that goes on has to say: a line, or one JSON object. */
export function printLog(message: string, asJson: boolean | undefined): void {
  host().stderr.write(`${asJson ? JSON.stringify({ message }) : `jetrpc: ${plain(message)}`}\n`);
}

/** Writes what went wrong to stderr: a line for each line, or one JSON object. */
export function printError(message: string, code: string, asJson: boolean): void {
  const lines = asJson
    ? [JSON.stringify({ error: { code, message } })]
    : plain(message)
        .split("\n")
        .map((line) => `jetrpc: ${line}`);
  host().stderr.write(`${lines.join("\n")}\n`);
}
