import { setTimeout as delay } from "node:timers/promises";
import type { NatsServer } from "@jetrpc/testing";
import { filler, limitAccount } from "../brokers.js";
import { ask } from "./ask.js";
import type { FaultSource } from "./fault.js";

/** Stores that have no room. */
export const storageFaults: FaultSource = (random, { servers, storeMegabytes }) => {
  const shortly = random.between(200, 3_000);
  return [
    { name: "full store of the servers", run: () => fillStore(servers, storeMegabytes, shortly) },
    {
      name: "full storage of the account",
      // A server that starts meanwhile has the limit for good.
      needsServers: true,
      async run() {
        await limitAccount(servers, 1024);
        await delay(shortly);
        await limitAccount(servers, -1);
      },
    },
  ];
};

/** JetStream's code for a stream that does not exist. */
const streamNotFound = 10059;

/** Bytes of what fills a store: four of it are a MB. */
const piece = new Uint8Array(250_000);

/** Fills what the servers may store, and makes room again. */
async function fillStore(
  servers: readonly NatsServer[],
  megabytes: number,
  ms: number,
): Promise<void> {
  const config = {
    name: "FILLER",
    subjects: ["filler"],
    storage: "file",
    num_replicas: servers.length,
  };
  const pieces = function* () {
    yield ["$JS.API.STREAM.CREATE.FILLER", JSON.stringify(config)] as const;
    for (let count = 0; count < 4 * (megabytes + 50); count++) {
      yield ["filler", piece] as const;
    }
  };
  try {
    const isFull = (text: string) => text.includes('"error"') && !text.includes("_response");
    await ask(servers, pieces(), filler, (reply) => isFull(reply.string()));
    await delay(ms);
  } finally {
    // However many servers are down just now: a store that stays full ends every call's way.
    while (!(await isGone(servers, "FILLER"))) {
      await delay(500);
    }
  }
}

/** Deletes a stream; false when nobody says that it is gone. */
async function isGone(servers: readonly NatsServer[], stream: string): Promise<boolean> {
  const reply = await ask(servers, [[`$JS.API.STREAM.DELETE.${stream}`]], filler);
  const answer = reply?.json() as { success?: boolean; error?: { err_code: number } } | undefined;
  return answer?.success === true || answer?.error?.err_code === streamNotFound;
}
