import { setTimeout as delay } from "node:timers/promises";
import {
  Code,
  ConnectError,
  type Connection,
  createClient,
  openBlob,
  type ServiceBinding,
} from "@jetrpc/runtime";
import { createOperator } from "@jetrpc/runtime/operator";
import type { Failure } from "./checker.js";
import { digestOf, turned } from "./content.js";
import type { ConvertRequest } from "./gen/chaos/v1/chaos_pb.js";
import type { Accepted } from "./message.js";
import { suffixOf } from "./post-mortem.js";
import type { ChaosClient } from "./service.js";

/** How long what was removed may still be seen, in ms. */
const removalMs = 15_000;

type Converted = Accepted & { readonly method: "Convert" };

/** Looks at what no log shows when all calls have ended: the files that they have. */
export class FileChecker {
  constructor(
    private readonly connection: Connection,
    private readonly binding: ServiceBinding,
  ) {}

  /** `unread` are the calls whose file nobody has read yet. */
  async check(all: readonly Converted[], unread: readonly Converted[]): Promise<Failure[]> {
    return [
      ...(await this.readResults(unread)),
      ...(await this.readDeadLetters(all)),
      ...(await this.findLeftovers()),
    ];
  }

  private async readResults(calls: readonly Converted[]): Promise<Failure[]> {
    const client = createClient<ChaosClient>(this.binding.desc, this.connection);
    const failures: Failure[] = [];
    for (const call of calls) {
      const why = await differs(call, async () => {
        const { file } = await client.convert.attach(call.callId).result();
        return file && digestOf(openBlob(file));
      });
      if (why) {
        failures.push({ verdict: "lost", call, why });
      }
    }
    return failures;
  }

  private async readDeadLetters(calls: readonly Converted[]): Promise<Failure[]> {
    const known = new Map(calls.map((call) => [call.callId, call]));
    const failures: Failure[] = [];
    const operator = createOperator(this.connection, this.binding.desc);
    for await (const letter of operator.deadLetters({ method: "Convert" })) {
      const call = known.get(letter.callId);
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

  /** Objects of requests that neither are queued nor are dead letters, after a sweep. */
  private async findLeftovers(): Promise<Failure[]> {
    const { connection, binding } = this;
    const operator = createOperator(connection, binding.desc);
    // Once: what takes the place of a removed object is gone a second later.
    await operator.sweepPayloads({ olderThanMs: 0 });
    const letters = new Set<string>();
    for await (const { callId } of operator.deadLetters({ method: "Convert" })) {
      letters.add(suffixOf({ callId }));
    }
    const until = Date.now() + removalMs;
    for (;;) {
      const left = (await this.requestObjects()).filter(
        (name) => !letters.has(name.split(".").slice(2, 5).join(".")),
      );
      if (left.length === 0 || Date.now() > until) {
        return left.map((name) => ({ verdict: "left", why: `object ${name} is of no call` }));
      }
      await delay(500);
    }
  }

  /** Names of the objects of requests. */
  private async requestObjects(): Promise<string[]> {
    const { payloadBucket } = this.binding;
    const chunks = `$O.${payloadBucket}.C.`;
    const reply = await this.connection.nats.request(
      `$JS.API.STREAM.INFO.OBJ_${payloadBucket}`,
      JSON.stringify({ subjects_filter: `${chunks}queue.>` }),
      { timeout: 5000 },
    );
    const { state } = reply.json() as { state: { subjects?: Record<string, number> } };
    return Object.keys(state.subjects ?? {}).map((subject) => subject.slice(chunks.length));
  }
}

/** Reads a file of a call, and says what is wrong with it. A call may have failed. */
async function differs(
  call: Converted,
  read: () => Promise<string | undefined>,
): Promise<string | undefined> {
  try {
    const digest = await read();
    return digest === call.digest ? undefined : `a file with ${digest}, not ${call.digest}`;
  } catch (error) {
    const { code, rawMessage } = ConnectError.from(error);
    const isLost = [Code.NotFound, Code.DataLoss, Code.Unavailable].includes(code);
    return isLost ? rawMessage : undefined;
  }
}
