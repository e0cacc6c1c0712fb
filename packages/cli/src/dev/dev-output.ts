import { createInterface } from "node:readline";
import type { Readable } from "node:stream";

/** Colours that are read on dark and on light. */
const colours = [36, 35, 34, 32, 33, 96, 95, 94];
const red = 31;
const yellow = 33;
const dim = 2;

/** How much a line matters. Nobody knows it of a "notice": a process wrote it to stderr. */
export type Level = "info" | "notice" | "warn" | "error";

/** What stands between a name and its line, to be told apart without colours, too. */
const marks: Readonly<Record<Level, { mark: string; colour: number }>> = {
  info: { mark: "│", colour: dim },
  notice: { mark: ":", colour: yellow },
  warn: { mark: "!", colour: yellow },
  error: { mark: "!", colour: red },
};

/** Where lines go. */
interface Streams {
  readonly stdout: { write(text: string): unknown };
  readonly stderr: { write(text: string): unknown };
}

/** Writes what several processes say, each line with the name of its process. */
export class DevOutput {
  private width = 0;
  private isSilent = false;
  private readonly names: string[] = [];

  constructor(
    readonly isColoured: boolean,
    private readonly streams: Streams,
  ) {}

  /** Makes room for names, in the order of their colours. */
  add(...names: readonly string[]): void {
    this.names.push(...names);
    this.width = Math.max(this.width, ...names.map((name) => name.length));
  }

  /** Writes a text, a line or several. All but information goes to stderr, and stands out. */
  write(name: string, text: string, level: Level = "info"): void {
    if (this.isSilent) {
      return;
    }
    const colour = colours[Math.max(this.names.indexOf(name), 0) % colours.length] ?? 0;
    const label = this.paint(colour, name.padEnd(this.width));
    const { mark, colour: markColour } = marks[level];
    const bar = this.paint(markColour, mark);
    const stream = level === "info" ? this.streams.stdout : this.streams.stderr;
    const lines = text.split("\n").map((line) => `${label} ${bar} ${line}`.trimEnd());
    stream.write(`${lines.join("\n")}\n`);
  }

  /**
   * Writes all lines of a process: those of its stderr as notices, records of `serve()` for people.
   * With `write` somebody else decides when.
   */
  follow(
    name: string,
    { stdout, stderr }: { stdout: Readable; stderr: Readable },
    write = (text: string, level?: Level) => this.write(name, text, level),
  ): void {
    // A chunk may end in the middle of a character or a line: readline knows.
    createInterface({ input: stdout }).on("line", (line) => write(line));
    createInterface({ input: stderr }).on("line", (line) => {
      const record = readRecord(line);
      if (record) {
        write(this.show(record), record.level);
      } else {
        write(line, "notice");
      }
    });
  }

  /** Writes nothing from now on: nobody is there to read it. */
  silence(): void {
    this.isSilent = true;
  }

  private show({ level, text, stack }: LogLine): string {
    const first = level === "info" ? text : this.paint(marks[level].colour, `${level}: ${text}`);
    return [first, ...stack.map((line) => this.paint(dim, line))].join("\n");
  }

  private paint(code: number, text: string): string {
    return this.isColoured ? `\x1b[${code}m${text}\x1b[0m` : text;
  }
}

/** What `serve()` logs, ready to be shown. */
interface LogLine {
  readonly level: Level;
  readonly text: string;
  /** Lines of the stack of a bug. */
  readonly stack: readonly string[];
}

/** Reads a line of JSON that the logger of `serve()` wrote; undefined for any other. */
function readRecord(line: string): LogLine | undefined {
  if (!line.startsWith('{"time":')) {
    return undefined;
  }
  try {
    const { level, message, method, callId, attempt, error } = JSON.parse(line);
    const call = [
      method,
      callId !== undefined && `"${callId}"`,
      attempt !== undefined && `attempt ${attempt}`,
    ].filter(Boolean);
    const stack: string[] = error?.code === undefined ? (error?.stack?.split("\n") ?? []) : [];
    const cause = stack.length > 0 ? undefined : error?.message;
    return {
      level: level === "error" || level === "warn" ? level : "info",
      text: [message, call.join(" "), cause].filter(Boolean).join(": "),
      stack,
    };
  } catch {
    return undefined;
  }
}

/** Whether to write colours, as https://no-color.org and FORCE_COLOR say. */
export function wantsColours(
  env: Readonly<Record<string, string | undefined>>,
  isTerminal: boolean | undefined,
): boolean {
  if (env["NO_COLOR"]) {
    return false;
  }
  const forced = env["FORCE_COLOR"];
  return forced === undefined ? isTerminal === true && env["TERM"] !== "dumb" : forced !== "0";
}
