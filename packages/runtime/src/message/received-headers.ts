/**
 * Most bytes of a header block. JetStream stores no more than 64 KiB, and adds some
 * when it gives a message out.
 */
const maxBytes = 65 * 1024;

/** Most lines of a header block. */
const maxLines = 512;

const decoder = new TextDecoder();

const firstLine = "NATS/1.0";

/**
 * The headers of a message that came in, with the functions of the NATS client's MsgHdrs that are
 * needed to read them. They never throw: servers let pass what the client's own throw at. And
 * they cost a fraction: those check each name twice, and make a list for every question.
 */
export class ReceivedHeaders {
  /** The status that a server has sent; 0 for none. */
  readonly code: number = 0;
  /** The text of the status. */
  readonly description: string = "";
  /** What is wrong with the block; undefined when nothing is. Of such a block the other lines can be read. */
  readonly defect: string | undefined;
  private readonly names: string[] = [];
  private readonly values: string[] = [];

  constructor(block: Uint8Array) {
    // The lines that a server adds stand at the end.
    const text = decoder.decode(block.length > maxBytes ? block.subarray(-maxBytes) : block);
    let defect: string | undefined;
    let end = endOfLine(text, 0);
    if (end !== firstLine.length || !text.startsWith(firstLine)) {
      // The last part takes all that is left: one that may fail is tried for each of many digits.
      const [, code, description] = /^NATS\/1\.0 +(\d+)(.*)$/s.exec(text.slice(0, end)) ?? [];
      this.code = Number(code ?? 0);
      this.description = description ? trim(description) : "";
    }
    let count = 0;
    // Of the line, or a later one: where there is none, it is looked for once.
    let colon = 0;
    for (let start = end + 2; start < text.length; start = end + 2) {
      end = endOfLine(text, start);
      count++;
      if (colon >= 0 && colon < start) {
        colon = text.indexOf(":", start);
      }
      // A line without a colon is none.
      if (colon > start && colon < end) {
        const wrong = this.add(text.slice(start, colon), trim(text.slice(colon + 1, end)));
        defect ??= wrong && `line ${count} of its headers has ${wrong}`;
      }
    }
    const surplus = this.names.length - maxLines;
    if (surplus > 0) {
      this.names.splice(0, surplus);
      this.values.splice(0, surplus);
      defect = `it has more than ${maxLines} header lines`;
    }
    this.defect =
      block.length > maxBytes
        ? `its header block has ${block.length} bytes, more than ${maxBytes}`
        : defect;
  }

  /** The first value of a name, as it is spelled; empty when there is none. */
  get(name: string): string {
    return this.values[this.names.indexOf(name)] ?? "";
  }

  /** The last value of a name: a writer may have sent a line that the server adds too. */
  last(name: string): string {
    return this.values[this.names.lastIndexOf(name)] ?? "";
  }

  has(name: string): boolean {
    return this.names.includes(name);
  }

  /** The names, each once. */
  keys(): string[] {
    return [...new Set(this.names)];
  }

  /** Each name, and its values. */
  [Symbol.iterator](): Iterator<[string, string[]]> {
    const all = new Map<string, string[]>();
    for (const [index, name] of this.names.entries()) {
      const value = this.values[index] as string;
      all.get(name)?.push(value) ?? all.set(name, [value]);
    }
    return all.entries();
  }

  /** Returns what is wrong with a line. */
  private add(name: string, value: string): string | undefined {
    for (let index = 0; index < name.length; index++) {
      const code = name.charCodeAt(index);
      if (code <= 32 || code >= 127) {
        return `a character in its name that none may have (${hex(code)})`;
      }
    }
    const broken = /[\r\n]/.exec(value);
    if (broken) {
      return `a line break in its value (${hex(broken[0].charCodeAt(0))})`;
    }
    this.names.push(name);
    this.values.push(value);
    return undefined;
  }
}

/** All that `Headers` takes off at the ends of a value: U+00A0 and others are of the value. */
const spaces = "\t\n\r ";

/** A pattern would take the square of their number where many are in the middle. */
function trim(value: string): string {
  let start = 0;
  let end = value.length;
  while (start < end && spaces.includes(value[start] as string)) {
    start++;
  }
  while (end > start && spaces.includes(value[end - 1] as string)) {
    end--;
  }
  return value.slice(start, end);
}

function endOfLine(text: string, start: number): number {
  const end = text.indexOf("\r\n", start);
  return end < 0 ? text.length : end;
}

function hex(code: number): string {
  return `0x${code.toString(16).padStart(2, "0")}`;
}
