import { Child } from "../child.js";
import { BoundedLog } from "../evidence.js";
import type { Told } from "./report-health.js";

/** The worker or the client that is fuzzed, in a process of its own. */
export class SubjectProcess {
  /** Its memory, in bytes. */
  rss = 0;
  outcomes: Readonly<Record<string, number>> = {};
  private readonly child: Child;
  private isStopped = false;
  private ready: () => void = () => undefined;
  readonly isReady = new Promise<void>((resolve) => {
    this.ready = resolve;
  });
  private isQuiet: () => void = () => undefined;
  private readonly watch: NodeJS.Timeout;

  constructor(
    name: "worker" | "client",
    env: Record<string, string>,
    readonly log: ProcessLog,
    onProblem: (what: string) => void,
  ) {
    const hear = (message: unknown) => {
      const { isReady, isQuiet, rss, outcomes, wrong } = message as Told;
      this.rss = rss ?? this.rss;
      this.outcomes = outcomes ?? this.outcomes;
      if (isReady) {
        this.ready();
      }
      if (isQuiet) {
        this.isQuiet();
      }
      if (wrong !== undefined) {
        onProblem(`${name}: ${wrong}`);
      }
    };
    // The watch below tells that a process has ended.
    const crashed = () => undefined;
    this.child = Child.start(`fuzz-${name}`, env, log, crashed, hear);
    this.watch = setInterval(() => {
      if (!this.child.isRunning && !this.isStopped) {
        onProblem(`${name}: its process has ended:\n${log.noise.join("\n")}`);
      } else if (log.noise.length > 0) {
        onProblem(`${name}: Node printed:\n${log.noise.join("\n")}`);
      }
    }, 100);
  }

  /** Has the client make no more calls, and waits until those have ended that it has made. */
  quiet(): Promise<void> {
    return new Promise((resolve) => {
      this.isQuiet = resolve;
      this.child.send("quiet");
    });
  }

  async stop(): Promise<void> {
    this.isStopped = true;
    clearInterval(this.watch);
    await this.child.end("SIGKILL");
  }
}

/** How many lines that are no log record are kept. */
const noiseLimit = 40;

/** The stderr of a process: log records, and the lines that Node prints itself. */
export class ProcessLog extends BoundedLog {
  /** Lines that are no records: warnings, stacks of what nobody caught. */
  readonly noise: string[] = [];
  /** Records by what they say, and how often. */
  readonly records = new Map<string, number>();
  private rest = "";

  override write(text: string | Uint8Array): void {
    super.write(text);
    if (text.length === 0) {
      // The file is made before this object is.
      return;
    }
    const lines = `${this.rest}${Buffer.from(text)}`.split("\n");
    this.rest = lines.pop() ?? "";
    for (const line of lines) {
      this.take(line);
    }
  }

  private take(line: string): void {
    const record = recordOf(line);
    if (!record) {
      if (this.noise.length < noiseLimit && line !== "") {
        this.noise.push(line);
      }
      return;
    }
    const { message, error = "" } = record;
    const key = `${message}: ${error}`.replace(/\d+/g, "#").slice(0, 160);
    if (this.records.size < 500 || this.records.has(key)) {
      this.records.set(key, (this.records.get(key) ?? 0) + 1);
    }
  }
}

/** Reads a record; undefined for everything else: Node prints braces, too. */
function recordOf(line: string): { message: string; error?: string } | undefined {
  try {
    const record: unknown = JSON.parse(line);
    return record && typeof record === "object" && "message" in record
      ? (record as { message: string })
      : undefined;
  } catch {
    return undefined;
  }
}
