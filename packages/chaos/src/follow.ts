import { Code, ConnectError, openBlob } from "@jetrpc/runtime";
import { digestOf } from "./content.js";
import type { WorkResponse } from "./gen/chaos/v1/chaos_pb.js";
import type { Accepted } from "./message.js";
import { say } from "./say.js";
import type { ChaosClient } from "./service.js";

/**
 * Comes back to a call by its id, and reads its result. Undefined when that is right,
 * or when the call has ended with an error that may be.
 */
export async function follow(client: ChaosClient, call: Accepted): Promise<string | undefined> {
  try {
    const result = await read(client, call);
    if (!call.ends.includes("succeeded")) {
      return `succeeded, and had to end ${call.ends.join(" or ")}`;
    }
    return result === call.result ? undefined : `has result ${result}, not ${call.result}`;
  } catch (error) {
    const { code, rawMessage } = ConnectError.from(error);
    if (code === Code.NotFound || code === Code.DataLoss) {
      return `: ${rawMessage}`;
    }
    if (call.ends.includes("succeeded")) {
      say("ended with an error", { callId: call.callId, error: rawMessage });
    }
    return undefined;
  }
}

async function read(client: ChaosClient, { method, callId }: Accepted): Promise<unknown> {
  switch (method) {
    case "Count":
      return await countMessages(client, callId);
    case "Convert": {
      const { file } = await client.convert.attach(callId).result();
      return file && (await digestOf(openBlob(file)));
    }
    default:
      return (await attachWork(client, method, callId)).value;
  }
}

function attachWork(
  client: ChaosClient,
  method: "Work" | "Rank" | "Share" | "Try",
  callId: string,
): Promise<WorkResponse> {
  const name = method.toLowerCase() as "work" | "rank" | "share" | "try";
  return client[name].attach(callId).result();
}

/** How many messages a stream has; what is wrong with their order, otherwise. */
async function countMessages(client: ChaosClient, callId: string): Promise<number | string> {
  let seen = 0;
  for await (const { index } of client.count.attach(callId)) {
    if (index !== seen++) {
      return `message ${index} in place of ${seen - 1}`;
    }
  }
  return seen;
}
