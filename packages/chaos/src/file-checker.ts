import { setTimeout as delay } from "node:timers/promises";
import { Code, ConnectError, type Connection, createClient, openBlob } from "@jetrpc/runtime";
import { createOperator } from "@jetrpc/runtime/operator";
import type { ServiceBinding } from "@jetrpc/runtime/schema";
import { callKey, callKeyOf } from "./call-key.js";
import { digestOf, turned } from "./content.js";
import { follow } from "./follow.js";
import type { ConvertRequest } from "./gen/chaos/v1/chaos_pb.js";
import type { Accepted } from "./message.js";
import type { ChaosClient } from "./service.js";
import { streamSubjects } from "./stream-subjects.js";
import type { Failure } from "./verdict.js";

/** How long what was removed may still be seen, in ms. */
const removalMs = 15_000;

/** Looks at what no log shows when all calls have ended: the objects that they have. */
export class FileChecker {
  constructor(
    private readonly connection: Connection,
    private readonly binding: ServiceBinding,
  ) {}

  /** `calls` are those whose results are objects, `read` those that someone has read. */
  async check(calls: readonly Accepted[], read: ReadonlySet<string>): Promise<Failure[]> {
    return [
      ...(await this.readResults(calls.filter((call) => !read.has(callKey(call))))),
      ...(await this.readDeadLetters(calls)),
      ...(await this.findLeftovers()),
    ];
  }

  private async readResults(calls: readonly Accepted[]): Promise<Failure[]> {
    const client = createClient<ChaosClient>(this.binding.desc, this.connection);
    const failures: Failure[] = [];
    for (const call of calls) {
      const why = await follow(client, call);
      if (why) {
        failures.push({ verdict: "lost", call, why });
      }
    }
    return failures;
  }

  private async readDeadLetters(calls: readonly Accepted[]): Promise<Failure[]> {
    const known = new Map(calls.map((call) => [callKey(call), call]));
    const failures: Failure[] = [];
    const operator = createOperator(this.connection, this.binding.desc);
    for await (const letter of operator.deadLetters({ method: "Convert" })) {
      const call = known.get(callKey({ method: "Convert", callId: letter.callId }));
      const why =
        call &&
        (await differs(call, async () => {
          const { file } = (await letter.request()) as ConvertRequest;
          return file && digestOf(turned(openBlob(file)));
        }));
      if (why) {
        failures.push({ verdict: "lost", call, why: `its dead letter: ${why}` });
      }
    }
    return failures;
  }

  /**
   * Objects, after a sweep, of requests that neither are queued nor are dead letters, and
   * of logs that have no entry.
   */
  private async findLeftovers(): Promise<Failure[]> {
    const { connection, binding } = this;
    // Once: what takes the place of a removed object is gone a second later.
    await createOperator(connection, binding.desc).sweepPayloads({ olderThanMs: 0 });
    const letters = await this.calls(binding.deadStream);
    const logs = await this.calls(binding.logStream);
    const until = Date.now() + removalMs;
    for (;;) {
      const left = (await this.objects()).filter((name) => {
        const [kind, ...rest] = name.split(".");
        return !(kind === "queue" ? letters : logs).has(rest.slice(0, 4).join("."));
      });
      if (left.length === 0 || Date.now() > until) {
        return left.map((name) => ({ verdict: "left", why: `object ${name} is of no call` }));
      }
      await delay(500);
    }
  }

  private async calls(stream: string): Promise<Set<string>> {
    const { subjects = [] } = (await streamSubjects(this.connection.nats, stream)) ?? {};
    return new Set([...subjects].map(callKeyOf));
  }

  /** Names of all objects. */
  private async objects(): Promise<string[]> {
    const { payloadBucket } = this.binding;
    const chunks = `$O.${payloadBucket}.C.`;
    const { nats } = this.connection;
    const found = await streamSubjects(nats, `OBJ_${payloadBucket}`, `${chunks}>`);
    return [...(found?.subjects ?? [])].map((subject) => subject.slice(chunks.length));
  }
}

/** Reads a file of a call, and says what is wrong with it. */
async function differs(
  call: Accepted,
  read: () => Promise<string | undefined>,
): Promise<string | undefined> {
  try {
    const digest = await read();
    return digest === call.result ? undefined : `a file with ${digest}, not ${call.result}`;
  } catch (error) {
    const { code, rawMessage } = ConnectError.from(error);
    const isLost = [Code.NotFound, Code.DataLoss, Code.Unavailable].includes(code);
    return isLost ? rawMessage : undefined;
  }
}
