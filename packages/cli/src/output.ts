import { host } from "./host.js";

/** Writes a line to stdout. */
export function print(line = ""): void {
  host().stdout.write(`${line}\n`);
}

/** Writes a JSON value to stdout, on one line. */
export function printJson(value: unknown): void {
  print(JSON.stringify(value));
}

/** Writes rows as columns under their titles; on a terminal so that they fit: see {@link fitTable}. */
export function printTable(titles: readonly string[], rows: readonly (readonly string[])[]): void {
  const { isTTY, columns } = host().stdout;
  for (const line of isTTY && columns ? fitTable(titles, rows, columns) : tableOf(titles, rows)) {
    print(line);
  }
}

/** The lines of a table, with two spaces between columns. */
export function tableOf(titles: readonly string[], rows: readonly (readonly string[])[]): string[] {
  return draw([titles, ...rows], widthsOf(titles, rows));
}

/**
 * The lines of a table for a narrow terminal: long cells are cut, then columns are left out; where
 * that is not enough, each row is a block of lines, and has all. An id is never cut, as it is there to be copied.
 */
export function fitTable(
  titles: readonly string[],
  rows: readonly (readonly string[])[],
  width: number,
): string[] {
  for (let left = 0; left <= spared.length; left++) {
    const out = spared.slice(0, left);
    const columns = titles.flatMap((title, index) => (out.includes(title) ? [] : [index]));
    const pick = (cells: readonly string[]) => columns.map((index) => cells[index] ?? "");
    const [kept, cells] = [pick(titles), rows.map(pick)];
    const widths = shrunk(kept, widthsOf(kept, cells), width);
    if (widths) {
      return draw([kept, ...cells], widths, kept);
    }
  }
  const longest = Math.max(...titles.map(({ length }) => length));
  return rows.flatMap((row, index) => [
    ...(index > 0 ? [""] : []),
    ...titles.flatMap((title, column) =>
      row[column] ? [`${title.toLowerCase().padEnd(longest)}  ${row[column]}`] : [],
    ),
  ]);
}

/** Cells of these columns may be cut, to so many characters. */
const least: Readonly<Record<string, number>> = {
  ...{ AT: 17, "FAILED AT": 17, STARTED: 17 },
  ...{ METHOD: 10, SERVICE: 10, ERROR: 8 },
};

/** The end of a name tells more than its package. */
const cutInFront = ["METHOD", "SERVICE"];

/** Columns that are left out of a narrow table, in this order. */
const spared = ["ATTEMPTS", "OWNER", "KIND", "METHODS", "AVERAGE"];

function widthsOf(titles: readonly string[], rows: readonly (readonly string[])[]): number[] {
  return titles.map((title, column) =>
    rows.reduce((most, row) => Math.max(most, row[column]?.length ?? 0), title.length),
  );
}

/** Widths with which a row fits, the widest cut first; undefined where none do. */
function shrunk(
  titles: readonly string[],
  natural: readonly number[],
  width: number,
): number[] | undefined {
  const widths = [...natural];
  const spare = (column: number) =>
    Math.max(0, (widths[column] ?? 0) - (least[titles[column] ?? ""] ?? Number.POSITIVE_INFINITY));
  const gaps = 2 * (titles.length - 1);
  for (let over = sum(widths) + gaps - width; over > 0; over--) {
    const cuttable = widths.map((each, column) => (spare(column) > 0 ? each : 0));
    const most = Math.max(...cuttable);
    if (most === 0) {
      return undefined;
    }
    widths[cuttable.indexOf(most)] = most - 1;
  }
  return widths;
}

function draw(
  lines: readonly (readonly string[])[],
  widths: readonly number[],
  titles: readonly string[] = [],
): string[] {
  return lines.map((cells) =>
    cells
      .map((cell, column) => {
        const shorten = cutInFront.includes(titles[column] ?? "") ? endOf : cut;
        return shorten(cell, widths[column] ?? 0).padEnd(widths[column] ?? 0);
      })
      .join("  ")
      .trimEnd(),
  );
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, each) => total + each, 0);
}

function cut(text: string, width: number): string {
  return text.length <= width ? text : `${text.slice(0, Math.max(0, width - 1))}…`;
}

/** The end of a text that is too long. */
export function endOf(text: string, width: number): string {
  return text.length <= width ? text : `…${text.slice(text.length - Math.max(0, width - 1))}`;
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
