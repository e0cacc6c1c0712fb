import { Code, ConnectError, type Connection, createClient } from "@jetrpc/runtime";
import { Kind } from "./gen/chaos/v1/chaos_pb.js";
import type { Said } from "./message.js";
import { type ChaosClient, serviceFor } from "./service.js";

/** How long a call may take when everything is well, in ms. */
const patienceMs = 60_000;

/**
 * Makes calls when the attack is over: whatever was deleted is needed once more, and new
 * calls have to work.
 */
export async function probe(connection: Connection, nodes: number): Promise<Said[]> {
  const client = createClient<ChaosClient>(serviceFor(nodes), connection);
  const said: Said[] = [];
  const wait = { timeoutMs: patienceMs };
  const wrong = (method: string, callId: string, why: string) =>
    said.push({ wrong: `a call after the attack: ${why}`, call: { method, callId } });
  const value = 1000;
  const work = { kind: Kind.SLOW, milliseconds: 600, value };
  for (const method of ["Work", "Rank", "Share", "Try"] as const) {
    const name = method.toLowerCase() as "work" | "rank" | "share" | "try";
    try {
      const call = await client[name].submit(work);
      said.push({ accepted: { method, callId: call.id, result: value, ends: ["succeeded"] } });
      await call.result(wait);
    } catch (error) {
      wrong(method, "probe", `${error}`);
    }
  }
  try {
    const call = await client.work.submit({ kind: Kind.BAD, value });
    said.push({ accepted: { method: "Work", callId: call.id, result: value, ends: ["failed"] } });
    const error = await call.result(wait).then(
      () => new Error("it succeeded"),
      (error: unknown) => ConnectError.from(error),
    );
    if (!(error instanceof ConnectError && error.code === Code.InvalidArgument)) {
      wrong("Work", call.id, `${error}`);
    }
  } catch (error) {
    wrong("Work", "probe", `${error}`);
  }
  try {
    const call = await client.count.submit({ messages: 3, milliseconds: 1 });
    said.push({ accepted: { method: "Count", callId: call.id, result: 3, ends: ["succeeded"] } });
  } catch (error) {
    wrong("Count", "probe", `${error}`);
  }
  return said;
}
