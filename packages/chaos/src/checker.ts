import type { Connection } from "@jetrpc/runtime";
import type { ServiceBinding } from "@jetrpc/runtime/schema";
import { type JsMsg, jetstream } from "@nats-io/jetstream";
import { callKey, callKeyOf, callOf } from "./call-key.js";
import { type CallTrace, trace } from "./call-trace.js";
import type { Removed } from "./faults/fault.js";
import { FileChecker } from "./file-checker.js";
import { judge } from "./judge.js";
import { MemoryWatch } from "./memory.js";
import type { Accepted, Expected, Said } from "./message.js";
import { streamSubjects } from "./stream-subjects.js";
import type { Failure, Findings, Verdict } from "./verdict.js";

/** The attempts of most calls: one has begun. */
const firstAttempt: readonly number[] = [1];

/** Messages of a log that are asked for at once. */
const batch = 2_000;

/** Knows every accepted call, and what the servers have of it. Holds little of each. */
export class Checker {
  readonly removed: Removed = { logs: new Set(), letters: new Set() };
  private readonly memory = new MemoryWatch();
  private readonly accepted = new Map<string, Expected>();
  /** Calls are many, and what is expected of them is not. */
  private readonly expectations = new Map<string, Expected>();
  /** Attempts whose handlers have begun. */
  private readonly began = new Map<string, readonly number[]>();
  /** Calls whose result a client has read. */
  private readonly read = new Set<string>();
  /** The failures that clients and workers found. */
  private readonly wrong: Failure[] = [];

  constructor(
    private readonly connection: Connection,
    private readonly binding: ServiceBinding,
  ) {}

  get count(): number {
    return this.accepted.size;
  }

  hear(said: Said): void {
    if ("began" in said) {
      const key = callKey(said.began);
      const before = this.began.get(key);
      const isFirst = !before && said.attempt === 1;
      this.began.set(key, isFirst ? firstAttempt : [...(before ?? []), said.attempt]);
    } else if ("accepted" in said) {
      this.accepted.set(callKey(said.accepted), this.expectation(said.accepted));
    } else if ("read" in said) {
      this.read.add(callKey(said.read));
    } else if ("memory" in said) {
      this.memory.hear(said.memory);
    } else if ("crowded" in said) {
      this.wrong.push({ verdict: "exceeded", why: said.crowded });
    } else if ("wrong" in said) {
      this.wrong.push({ verdict: "lost", call: said.call, why: said.wrong });
    }
  }

  /** Counts something that no call is named for. */
  miss(verdict: Failure["verdict"], why: string): void {
    this.wrong.push({ verdict, why });
  }

  /** How many requests are in the queues, or are for later or due. */
  async queued(): Promise<number> {
    return (await this.queuedCalls()).size;
  }

  /** Counts in what clients and workers saw, and what shows only when all calls have ended. */
  async finish({ verdict, failures }: Findings): Promise<Findings> {
    const found = this.wrong.filter(({ call }) => !(call && this.removed.logs.has(callKey(call))));
    for (const why of this.memory.grown()) {
      found.push({ verdict: "grown", why });
    }
    if (verdict.stuck === 0) {
      const files = new FileChecker(this.connection, this.binding);
      found.push(...(await files.check(this.objectCalls(), this.read)));
    }
    const count = { ...verdict };
    for (const { verdict } of found) {
      count[verdict]++;
    }
    return { verdict: count, failures: [...failures, ...found] };
  }

  /** Compares what was promised with what is there. */
  async check(): Promise<Findings> {
    // In the order that calls go, so that one that moves meanwhile is seen at least once.
    const queued = await this.queuedCalls();
    const { logStream, deadStream, progressStream, methods } = this.binding;
    const progress = await this.calls(progressStream);
    const traces = await this.readLogs(logStream);
    const dead = await this.calls(deadStream);
    const failures: Failure[] = [];
    const verdict: Verdict = {
      accepted: this.count,
      ...{ done: 0, dead: 0, removed: 0, lost: 0, doubled: 0, stuck: 0, left: 0 },
      ...{ exceeded: 0, crashed: 0, grown: 0 },
    };
    const add = (failure: Failure) => {
      verdict[failure.verdict]++;
      failures.push(failure);
    };
    const attempts = new Map(
      [...methods.values()].map(({ desc, maxAttempts }) => [desc.name, maxAttempts]),
    );
    const { logs, letters } = this.removed;
    const known = [this.accepted, this.began, queued, traces ?? new Map(), dead ?? new Set()];
    for (const key of union(known.map((each) => each.keys()))) {
      const call = callOf(key);
      const expected = this.accepted.get(key);
      const judged = judge({
        expected,
        trace: traces?.get(key),
        began: this.began.get(key) ?? [],
        maxAttempts: attempts.get(call.method) ?? 1,
        isQueued: queued.has(key),
        isDead: dead?.has(key) === true,
        isLogRemoved: logs.has(key) || !traces,
        isLetterRemoved: letters.has(key) || !dead,
      });
      if ("why" in judged) {
        add({ verdict: judged.verdict, call, why: judged.why });
      } else if (expected && judged.verdict !== "none") {
        verdict[judged.verdict]++;
      }
    }
    for (const [stream, found] of [
      [logStream, traces],
      [deadStream, dead],
      [progressStream, progress],
    ] as const) {
      if (!found) {
        add({ verdict: "lost", why: `stream ${stream} was deleted, and did not come back` });
      }
    }
    for (const key of progress ?? []) {
      if (!this.began.has(key)) {
        add({ verdict: "left", call: callOf(key), why: "progress of a call that never ran" });
      }
    }
    return { verdict, failures };
  }

  private expectation({ method, callId: _, ...rest }: Accepted): Expected {
    const expected = { method, ...rest };
    const key = JSON.stringify(expected);
    const known = this.expectations.get(key) ?? expected;
    this.expectations.set(key, known);
    return known;
  }

  /** Accepted calls whose results no log shows, and nobody has removed. */
  private objectCalls(): Accepted[] {
    const calls: Accepted[] = [];
    for (const [key, expected] of this.accepted) {
      if (expected.isObject && !this.removed.logs.has(key)) {
        calls.push({ ...expected, callId: callOf(key).callId });
      }
    }
    return calls;
  }

  private async queuedCalls(): Promise<Set<string>> {
    const { laterStream, stream } = this.binding;
    const later = await this.calls(laterStream);
    const queue = await this.calls(stream);
    if (!later || !queue) {
      throw new Error(`stream ${later ? stream : laterStream} is gone`);
    }
    return new Set([...later, ...queue]);
  }

  /** Calls that a stream has messages of; undefined when there is none. */
  private async calls(stream: string): Promise<Set<string> | undefined> {
    const found = await streamSubjects(this.connection.nats, stream);
    return found && new Set([...found.subjects].map(callKeyOf));
  }

  /** Undefined when the stream does not exist. */
  private async readLogs(stream: string): Promise<Map<string, CallTrace> | undefined> {
    const { nats } = this.connection;
    if (!(await streamSubjects(nats, stream, "none"))) {
      return undefined;
    }
    const traces = new Map<string, CallTrace>();
    const take = (message: JsMsg) => {
      const key = callKeyOf(message.subject);
      traces.set(key, trace(traces.get(key), message, this.accepted.get(key)));
    };
    const consumer = await jetstream(nats).consumers.get(stream);
    let { num_pending: pending } = await consumer.info();
    while (pending > 0) {
      for await (const message of await consumer.fetch({ max_messages: batch, expires: 5000 })) {
        take(message);
        pending = message.info.pending;
      }
    }
    return traces;
  }
}

/** All values, each once. */
function union<T>(parts: readonly Iterable<T>[]): Set<T> {
  const all = new Set<T>();
  for (const part of parts) {
    for (const each of part) {
      all.add(each);
    }
  }
  return all;
}
