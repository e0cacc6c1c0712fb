import { type Msg, headers as makeHeaders } from "@nats-io/nats-core";

/**
 * Most bytes of a header block. JetStream stores no more than 64 KiB, and adds some
 * when it gives a message out.
 */
const maxBytes = 65 * 1024;

/** Most lines of a header block. */
const maxLines = 512;

/** From so many bytes on the lines are counted first: the NATS client takes quadratic time for them. */
const longBytes = 4 * 1024;

const CR = 13;
const LF = 10;
const colon = 58;

/** The parts of a message that the NATS client has not read yet. */
interface Unread {
  readonly _msg?: { readonly hdr: number };
  readonly _rdata?: Uint8Array;
}

const defect: unique symbol = Symbol("jetrpc.defect");

type Defective = Msg & { readonly [defect]?: string };

/**
 * Makes a message that came in safe to read. The NATS client reads a header block when
 * it is asked for, and throws then, each time, at what servers let pass: a space in a
 * name is enough. What is returned in place of such a message has the lines that can be
 * read, and {@link defectOf} tells what is wrong with the rest.
 */
export function readable(message: Msg): Msg {
  const { _msg, _rdata } = message as unknown as Unread;
  const length = _msg?.hdr ?? -1;
  if (length < 0 || !_rdata) {
    return message;
  }
  let what = length > longBytes ? findDefect(_rdata, length) : undefined;
  if (what === undefined) {
    try {
      // Read once: it costs whoever needs them nothing more.
      void message.headers;
      return message;
    } catch (error) {
      what = findDefect(_rdata, length) ?? String(error);
    }
  }
  return repaired(message, _rdata.subarray(0, length), what);
}

/** The defect of the header block of a message that came in; undefined when it has none. */
export function defectOf(message: Msg): string | undefined {
  return (message as Defective)[defect];
}

function findDefect(bytes: Uint8Array, length: number): string | undefined {
  if (length > maxBytes) {
    return `its header block has ${length} bytes, more than ${maxBytes}`;
  }
  // The line before the first has the protocol's version, and a status of the server.
  let line = 0;
  let isName = false;
  /** The first character of a name that none may have. A line without a colon is none. */
  let odd: number | undefined;
  for (let at = 0; at < length; at++) {
    const byte = bytes[at] as number;
    if (byte === CR && bytes[at + 1] === LF) {
      if (++line > maxLines + 1) {
        return `it has more than ${maxLines} header lines`;
      }
      at++;
      isName = true;
      odd = undefined;
    } else if (isName && byte === colon) {
      isName = false;
      if (odd !== undefined) {
        return `line ${line} of its headers has a character in its name that none may have (${hex(odd)})`;
      }
    } else if (isName && (byte <= 32 || byte >= 127)) {
      odd ??= byte;
    } else if (!isName && line > 0 && (byte === CR || byte === LF)) {
      return `line ${line} of its headers has a line break in its value (${hex(byte)})`;
    }
  }
  return undefined;
}

function hex(byte: number): string {
  return `0x${byte.toString(16).padStart(2, "0")}`;
}

function repaired(message: Msg, block: Uint8Array, what: string): Msg {
  // The lines that the server adds stand at the end.
  const text = new TextDecoder().decode(block.subarray(-maxBytes));
  const [first = "", ...lines] = text.split("\r\n");
  const [, code, description] = /^NATS\/1\.0 +(\d{3})(.*)$/.exec(first) ?? [];
  const headers = code ? makeHeaders(Number(code), description?.trim() || "status") : makeHeaders();
  for (const line of lines.slice(-maxLines)) {
    const end = line.indexOf(":");
    if (end > 0) {
      try {
        headers.append(line.slice(0, end), line.slice(end + 1));
      } catch {
        // That is the defect.
      }
    }
  }
  return Object.create(message, {
    headers: { value: headers },
    [defect]: { value: what },
  });
}
