import { Code, ConnectError, type Connection, createClient } from "@jetrpc/runtime";
import { Kind } from "./gen/chaos/v1/chaos_pb.js";
import type { Accepted, Said } from "./message.js";
import { type ChaosClient, serviceFor } from "./service.js";

/** How long a call may take when everything is well, in ms. */
const patienceMs = 60_000;

/** The value in every response. */
const value = 1000;

/**
 * Makes a call of each sort when the attack is over: they need everything that was deleted,
 * and they have to work. Resolves with the events of these calls.
 */
export async function probe(connection: Connection, nodes: number): Promise<Said[]> {
  const client = createClient<ChaosClient>(serviceFor(nodes), connection);
  const said: Said[] = [];
  const accepted = (call: Accepted) => said.push({ accepted: call });
  const work = async (method: "Work" | "Rank" | "Share" | "Try", kind: Kind) => {
    const name = method.toLowerCase() as "work" | "rank" | "share" | "try";
    const call = await client[name].submit({ kind, value, milliseconds: 600 });
    const ends = [kind === Kind.BAD ? ("failed" as const) : ("succeeded" as const)];
    accepted({ method, callId: call.id, result: value, ends });
    await call.result({ timeoutMs: patienceMs }).catch((error) => {
      if (kind !== Kind.BAD || ConnectError.from(error).code !== Code.InvalidArgument) {
        throw error;
      }
    });
  };
  const count = async () => {
    const call = await client.count.submit({ messages: 3, milliseconds: 1 });
    accepted({ method: "Count", callId: call.id, result: 3, ends: ["succeeded"] });
  };
  const check = (method: string, done: Promise<void>) =>
    done.catch((error) => {
      const wrong = `a call after the attack: ${error}`;
      said.push({ wrong, call: { method, callId: "probe" } });
    });
  await Promise.all([
    check("Work", work("Work", Kind.SLOW)),
    check("Work", work("Work", Kind.BAD)),
    check("Rank", work("Rank", Kind.SLOW)),
    check("Share", work("Share", Kind.SLOW)),
    check("Try", work("Try", Kind.SLOW)),
    check("Count", count()),
  ]);
  return said;
}
