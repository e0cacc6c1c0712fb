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
  private names: string[] = [];
  private values: string[] = [];

  constructor(block: Uint8Array) {
    // The lines that a server adds stand at the end.
    const text = decoder.decode(block.length > maxBytes ? block.subarray(-maxBytes) : block);
    let defect: string | undefined;
    let end = endOfLine(text, 0);
    if (end !== firstLine.length || !text.startsWith(firstLine)) {
      const [, code, description] = /^NATS\/1\.0 +(\d+)(.*)$/.exec(text.slice(0, end)) ?? [];
      this.code = Number(code ?? 0);
      this.description = description?.trim() ?? "";
    }
    let count = 0;
    for (let start = end + 2; start < text.length; start = end + 2) {
      end = endOfLine(text, start);
      count++;
      const colon = text.indexOf(":", start);
      // A line without a colon is none.
      if (colon > start && colon < end) {
        const wrong = this.add(text.slice(start, colon), text.slice(colon + 1, end).trim());
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

  keys(): string[] {
    return this.names;
  }

  /** Leaves nothing of a name but its last value. */
  keepLast(name: string): void {
    const last = this.names.lastIndexOf(name);
    if (this.names.indexOf(name) !== last) {
      const isKept = (_: string, index: number) => this.names[index] !== name || index === last;
      this.values = this.values.filter(isKept);
      this.names = this.names.filter(isKept);
    }
  }

  /** A name, and its value in a list, for each line. */
  *[Symbol.iterator](): Iterator<[string, string[]]> {
    for (let index = 0; index < this.names.length; index++) {
      yield [this.names[index] as string, [this.values[index] as string]];
    }
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

function endOfLine(text: string, start: number): number {
  const end = text.indexOf("\r\n", start);
  return end < 0 ? text.length : end;
}

function hex(code: number): string {
  return `0x${code.toString(16).padStart(2, "0")}`;
}
