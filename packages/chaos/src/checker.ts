import { fromBinary } from "@bufbuild/protobuf";
import type { Connection, ServiceBinding } from "@jetrpc/runtime";
import { type JsMsg, jetstream } from "@nats-io/jetstream";
import { FileChecker } from "./file-checker.js";
import {
  ConvertResponseSchema,
  CountResponseSchema,
  WorkResponseSchema,
} from "./gen/chaos/v1/chaos_pb.js";
import type { Accepted, Said } from "./message.js";
import { suffixOf } from "./post-mortem.js";
import { storedMessages } from "./stored-messages.js";

/** What became of the calls. */
export interface Verdict {
  accepted: number;
  /** Ended as they should: with their result, or canceled. */
  done: number;
  /** Failed for good, and kept as dead letters. */
  dead: number;
  /** Accepted, and nowhere to be found; or their result is not what it has to be. */
  lost: number;
  /** With two ends, or with a message that is there twice. */
  doubled: number;
  /** Not ended although everything is well again. */
  stuck: number;
  /** Objects of requests that are gone, after a sweep. */
  left: number;
}

/** Something that is not as it has to be. */
export interface Failure {
  readonly verdict: "lost" | "doubled" | "stuck" | "left";
  readonly call?: Accepted | undefined;
  readonly why: string;
}

/** What was found, and how it is counted. */
export interface Findings {
  readonly verdict: Verdict;
  readonly failures: readonly Failure[];
}

/** What the log of a call holds. */
interface Logged {
  ends: string[];
  /** Payload of the last end. */
  result: Uint8Array;
  indexes: number[];
}

/** Knows every accepted call, and what the servers have of it. */
export class Checker {
  private readonly accepted = new Map<string, Accepted>();
  /** Calls whose file a client has read. */
  private readonly read = new Set<string>();
  /** What clients found wrong. */
  private readonly wrong: Failure[] = [];

  constructor(
    private readonly connection: Connection,
    private readonly binding: ServiceBinding,
  ) {}

  get count(): number {
    return this.accepted.size;
  }

  hear(message: Said): void {
    if ("accepted" in message) {
      this.accepted.set(keyOfCall(message.accepted), message.accepted);
    } else if ("read" in message) {
      this.read.add(keyOfCall(message.read));
    } else {
      this.wrong.push({ verdict: "lost", call: message.call, why: message.wrong });
    }
  }

  /** Counts something that no call is named for. */
  miss(why: string): void {
    this.wrong.push({ verdict: "lost", why });
  }

  /** Counts in what clients saw, and what the files of calls show when all have ended. */
  async checkFiles({ verdict, failures }: Findings): Promise<Findings> {
    const found = [...this.wrong];
    if (verdict.stuck === 0) {
      const all = [...this.accepted.values()].filter((call) => call.method === "Convert");
      const unread = all.filter((call) => !this.read.has(keyOfCall(call)));
      found.push(...(await new FileChecker(this.connection, this.binding).check(all, unread)));
    }
    const count = { ...verdict };
    for (const { verdict } of found) {
      count[verdict]++;
    }
    return { verdict: count, failures: [...failures, ...found] };
  }

  /** Compares what was promised with what is there. */
  async check(): Promise<Findings> {
    const { logStream, deadStream, stream, laterStream } = this.binding;
    // In the order that calls go, so that one that moves meanwhile is seen at least once.
    const queued = new Set([...(await this.queued(laterStream)), ...(await this.queued(stream))]);
    const logs = new Map<string, Logged>();
    await this.readStream(logStream, (message) => this.note(logs, message));
    const dead = new Set<string>();
    await this.readStream(deadStream, (message) => void dead.add(keyOf(message.subject)));
    const accepted = this.count;
    const verdict = { accepted, done: 0, dead: 0, lost: 0, doubled: 0, stuck: 0, left: 0 };
    const failures: Failure[] = [];
    for (const [key, call] of this.accepted) {
      const judged = judge(call, logs.get(key), dead.has(key), queued.has(key));
      verdict[judged.verdict]++;
      if (judged.verdict !== "done" && judged.verdict !== "dead") {
        failures.push({ verdict: judged.verdict, call, why: judged.why ?? "" });
      }
    }
    return { verdict, failures };
  }

  private note(logs: Map<string, Logged>, message: JsMsg): void {
    if (!message.subject.endsWith(".entry")) {
      return;
    }
    const key = keyOf(message.subject);
    const log = logs.get(key) ?? { ends: [], result: new Uint8Array(0), indexes: [] };
    logs.set(key, log);
    const [kind, , outcome = ""] = (message.headers?.get("Jetrpc-Entry") ?? "").split(" ");
    if (kind === "end") {
      log.ends.push(outcome);
      log.result = message.data;
    } else if (kind === "message") {
      log.indexes.push(fromBinary(CountResponseSchema, message.data).index);
    }
  }

  private async readStream(stream: string, take: (message: JsMsg) => void): Promise<void> {
    const consumer = await jetstream(this.connection.nats).consumers.get(stream);
    let { num_pending: pending } = await consumer.info();
    while (pending > 0) {
      for await (const message of await consumer.fetch({ max_messages: 500, expires: 5000 })) {
        take(message);
        pending = message.info.pending;
      }
    }
  }

  /** Calls whose requests a stream holds. */
  private async queued(stream: string): Promise<Set<string>> {
    const keys = new Set<string>();
    for await (const { subject } of storedMessages(this.connection.nats, stream, ">")) {
      keys.add(keyOf(subject));
    }
    return keys;
  }
}

/** `<prefix>.<kind>.<Method>.<owner>.<session>.<id>[.entry]`; a due call's kind has two tokens. */
function keyOf(subject: string): string {
  return subject
    .replace(/\.entry$/, "")
    .split(".")
    .slice(-4)
    .join(".");
}

function keyOfCall(call: Accepted): string {
  return `${call.method}.${suffixOf(call)}`;
}

interface Judgement {
  verdict: "done" | "dead" | "lost" | "doubled" | "stuck";
  why?: string;
}

function judge(
  call: Accepted,
  log: Logged | undefined,
  isDead: boolean,
  isQueued: boolean,
): Judgement {
  const [end, ...more] = log?.ends ?? [];
  if (!log || end === undefined) {
    return isQueued
      ? { verdict: "stuck", why: "it has no end, and is still queued" }
      : { verdict: "lost", why: "it has no end, and is not queued" };
  }
  if (more.length > 0) {
    return { verdict: "doubled", why: `it ended ${log.ends.join(", ")}` };
  }
  if (log.indexes.some((index, i) => index !== i)) {
    return { verdict: "doubled", why: `its messages are ${log.indexes.join(" ")}` };
  }
  if (isQueued) {
    return { verdict: "stuck", why: `it ended ${end}, and is still queued` };
  }
  if (end === "failed") {
    return isDead ? { verdict: "dead" } : { verdict: "lost", why: "it failed without dead letter" };
  }
  if (end === "succeeded") {
    const problem = checkResult(call, log);
    return problem ? { verdict: "lost", why: problem } : { verdict: "done" };
  }
  return { verdict: "done" };
}

function checkResult(call: Accepted, { result, indexes }: Logged): string | undefined {
  if (call.method === "Count") {
    return indexes.length === call.messages
      ? undefined
      : `it has ${indexes.length} of ${call.messages} messages`;
  }
  if (call.fails) {
    return "it had to fail, and succeeded";
  }
  if (call.method === "Convert") {
    const { file } = fromBinary(ConvertResponseSchema, result);
    return file?.digest === call.digest
      ? undefined
      : `its file has ${file?.digest}, not ${call.digest}`;
  }
  const { value } = fromBinary(WorkResponseSchema, result);
  return value === call.value ? undefined : `its result is ${value}, not ${call.value}`;
}
