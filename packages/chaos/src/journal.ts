import { closeSync, openSync, readSync, writeSync } from "node:fs";
import type { Said } from "./message.js";

/**
 * Where a process notes what it does, in a file: what it has said is there however it
 * is killed in the next moment, and no message between processes is lost or waited for.
 */
export class Journal {
  private readonly file: number;

  constructor(path: string) {
    this.file = openSync(path, "a");
    // The process before this one may have been killed in the middle of a line.
    writeSync(this.file, "\n");
  }

  say(said: Said): void {
    writeSync(this.file, `${JSON.stringify(said)}\n`);
  }
}

/** Reads what was added to a journal since it was read last. */
export class JournalReader {
  private readonly file: number;
  private offset = 0;
  private rest = "";
  private readonly buffer = Buffer.alloc(256 * 1024);

  constructor(path: string) {
    this.file = openSync(path, "a+");
  }

  *read(): Generator<Said, void, undefined> {
    for (;;) {
      const length = readSync(this.file, this.buffer, 0, this.buffer.length, this.offset);
      if (length === 0) {
        return;
      }
      this.offset += length;
      // A character may be cut here; all that is compared is ASCII.
      const lines = (this.rest + this.buffer.toString("latin1", 0, length)).split("\n");
      this.rest = lines.pop() ?? "";
      for (const line of lines) {
        const said = line && parse(line);
        if (said) {
          yield said;
        }
      }
    }
  }

  close(): void {
    closeSync(this.file);
  }
}

function parse(line: string): Said | undefined {
  try {
    return JSON.parse(line) as Said;
  } catch {
    // Its writer was killed before the end of the line.
    return undefined;
  }
}
