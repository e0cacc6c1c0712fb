import { appendFile, open } from "node:fs/promises";
import { Code, ConnectError } from "@jetrpc/runtime";
import type { ActRecord, ConsoleOptions } from "./console-options.js";

/** Acts that are remembered. */
const maxActs = 1_000;

/** Most characters of a text of one that is remembered: 1,000 calls may be named at once. */
const maxText = 1_000;

/** Bytes of the end of a file that are read at the start. */
const maxRead = 4 * 1024 * 1024;

/** What was done: in a file, one line of JSON for each, and the last ones here. */
export class ActLog {
  private readonly acts: ActRecord[] = [];
  private written: Promise<void> = Promise.resolve();

  private constructor(private readonly options: Pick<ConsoleOptions, "actLog" | "onAct" | "log">) {}

  /** Throws InvalidArgument for a file that cannot be written. */
  static async open(options: Pick<ConsoleOptions, "actLog" | "onAct" | "log">): Promise<ActLog> {
    const log = new ActLog(options);
    const { actLog } = options;
    if (actLog !== undefined) {
      try {
        await appendFile(actLog, "", { mode: 0o600 });
        const end = await readEnd(actLog);
        log.acts.push(...parse(end).slice(-maxActs).map(shortened));
        if (end !== "" && !end.endsWith("\n")) {
          // What a killed process left half written is not to spoil the next line.
          await appendFile(actLog, "\n");
        }
      } catch (cause) {
        const text = `acts cannot be logged in ${actLog}: ${String(cause)}`;
        throw new ConnectError(text, Code.InvalidArgument, undefined, undefined, cause);
      }
    }
    return log;
  }

  get file(): string {
    return this.options.actLog ?? "";
  }

  /** The last ones, the newest first. */
  get newest(): readonly ActRecord[] {
    return this.acts.toReversed();
  }

  /** Resolves when it is in the file. A file that cannot be written any more is told, and ends nothing. */
  async add(act: Omit<ActRecord, "at">): Promise<void> {
    const { actLog, onAct, log } = this.options;
    const record: ActRecord = { at: new Date().toISOString(), ...act };
    this.acts.push(shortened(record));
    this.acts.splice(0, this.acts.length - maxActs);
    onAct?.(record);
    if (actLog !== undefined) {
      this.written = this.written
        .then(() => appendFile(actLog, `${JSON.stringify(record)}\n`))
        .catch((cause) => log?.(`an act is not logged in ${actLog}: ${String(cause)}`));
    }
    await this.written;
  }

  /** Does something, and logs how it ended. */
  async record<T>(
    act: Pick<ActRecord, "user" | "act" | "target" | "call">,
    work: () => Promise<T>,
    outcomeOf: (result: T) => Pick<ActRecord, "outcome"> & Partial<ActRecord>,
  ): Promise<T> {
    try {
      const result = await work();
      await this.add({ ...act, failed: false, ...outcomeOf(result) });
      return result;
    } catch (error) {
      await this.add({ ...act, outcome: ConnectError.from(error).message, failed: true });
      throw error;
    }
  }
}

/** As it is remembered and shown: the file has it whole. */
function shortened(act: ActRecord): ActRecord {
  return { ...act, target: cut(act.target), outcome: cut(act.outcome) };
}

function cut(text: string): string {
  return text.length > maxText ? `${text.slice(0, maxText)}…` : text;
}

async function readEnd(path: string): Promise<string> {
  const file = await open(path);
  try {
    const { size } = await file.stat();
    const length = Math.min(size, maxRead);
    const { buffer, bytesRead } = await file.read({
      buffer: Buffer.alloc(length),
      position: size - length,
    });
    return buffer.subarray(0, bytesRead).toString();
  } finally {
    await file.close();
  }
}

/** A line that a killed process left half written, or whose beginning was not read, is passed over. */
function parse(text: string): ActRecord[] {
  return text.split("\n").flatMap((line) => {
    try {
      const act = line === "" ? undefined : (JSON.parse(line) as ActRecord);
      const isAct = [act?.at, act?.target, act?.outcome].every((each) => typeof each === "string");
      return act && isAct && !Number.isNaN(Date.parse(act.at)) ? [act] : [];
    } catch {
      return [];
    }
  });
}
