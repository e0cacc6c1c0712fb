/** Writes a line to stdout. */
export function print(line = ""): void {
  process.stdout.write(`${line}\n`);
}

/** Writes a JSON value to stdout, on one line. */
export function printJson(value: unknown): void {
  print(JSON.stringify(value));
}

/** Writes rows as columns with two spaces between, under their titles. */
export function printTable(titles: readonly string[], rows: readonly (readonly string[])[]): void {
  const all = [titles, ...rows];
  const widths = titles.map((_, column) => Math.max(...all.map((row) => row[column]?.length ?? 0)));
  for (const row of all) {
    print(
      row
        .map((cell, column) => cell.padEnd(widths[column] ?? 0))
        .join("  ")
        .trimEnd(),
    );
  }
}

/** Writes what went wrong to stderr: a line for each line, or one JSON object. */
export function printError(message: string, code: string, asJson: boolean): void {
  const lines = asJson
    ? [JSON.stringify({ error: { code, message } })]
    : message.split("\n").map((line) => `jetrpc: ${line}`);
  process.stderr.write(`${lines.join("\n")}\n`);
}
