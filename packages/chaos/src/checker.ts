import { fromBinary } from "@bufbuild/protobuf";
import { bindService } from "@jetrpc/runtime";
import { type JsMsg, jetstream } from "@nats-io/jetstream";
import { connect, type NatsConnection } from "@nats-io/transport-node";
import { CountResponseSchema, WorkResponseSchema } from "./gen/chaos/v1/chaos_pb.js";
import type { Accepted } from "./message.js";
import { serviceFor } from "./service.js";

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
  /** What clients found wrong. */
  readonly wrong: string[] = [];
  private readonly binding;

  private constructor(
    private readonly nats: NatsConnection,
    nodes: number,
  ) {
    this.binding = bindService(serviceFor(nodes));
  }

  static async start(servers: string[], nodes: number): Promise<Checker> {
    const nats = await connect({
      servers,
      maxReconnectAttempts: -1,
      reconnectTimeWait: 200,
      ignoreClusterUpdates: true,
    });
    return new Checker(nats, nodes);
  }

  get count(): number {
    return this.accepted.size;
  }

  accept(call: Accepted): void {
    this.accepted.set(this.key(call), call);
  }

  /** Compares what was promised with what is there. Explains the first of each kind. */
  async check(explain: (line: string) => void): Promise<Verdict> {
    const { logStream, deadStream, stream, laterStream } = this.binding;
    // In the order that calls go, so that one that moves meanwhile is seen at least once.
    const queued = new Set([...(await this.queued(laterStream)), ...(await this.queued(stream))]);
    const logs = new Map<string, Logged>();
    await this.read(logStream, (message) => this.note(logs, message));
    const dead = new Set<string>();
    await this.read(deadStream, (message) => void dead.add(this.keyOf(message.subject)));
    const verdict = { accepted: this.count, done: 0, dead: 0, lost: 0, doubled: 0, stuck: 0 };
    for (const [key, call] of this.accepted) {
      const what = judge(call, logs.get(key), dead.has(key), queued.has(key));
      verdict[what.verdict]++;
      if (what.why) {
        explain(`${what.verdict}: ${key}: ${what.why}`);
      }
    }
    return verdict;
  }

  close(): Promise<void> {
    return this.nats.close();
  }

  private key({ method, callId }: Accepted): string {
    return `${method}._.${callId.includes(".") ? callId : `_.${callId}`}`;
  }

  /** `<prefix>.<kind>.<Method>.<owner>.<session>.<id>[.entry]` */
  private keyOf(subject: string): string {
    const [, ...rest] = subject.slice(this.binding.prefix.length + 1).split(".");
    return rest.slice(0, 4).join(".");
  }

  private note(logs: Map<string, Logged>, message: JsMsg): void {
    if (!message.subject.endsWith(".entry")) {
      return;
    }
    const key = this.keyOf(message.subject);
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

  private async read(stream: string, take: (message: JsMsg) => void): Promise<void> {
    const consumer = await jetstream(this.nats).consumers.get(stream);
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
    for (let from = 1; ; ) {
      const reply = await this.nats.request(
        `$JS.API.DIRECT.GET.${stream}`,
        JSON.stringify({ seq: from, next_by_subj: ">" }),
        { timeout: 5000 },
      );
      const subject = reply.headers?.get("Nats-Subject");
      if (!subject) {
        return keys;
      }
      from = Number(reply.headers?.get("Nats-Sequence")) + 1;
      keys.add(this.keyOf(subject));
    }
  }
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
  const { value } = fromBinary(WorkResponseSchema, result);
  if (call.fails) {
    return "it had to fail, and succeeded";
  }
  return value === call.value ? undefined : `its result is ${value}, not ${call.value}`;
}
