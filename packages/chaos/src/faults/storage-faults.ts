import { setTimeout as delay } from "node:timers/promises";
import type { NatsServer } from "@jetrpc/testing";
import type { NatsConnection } from "@nats-io/transport-node";
import { filler, limitAccount } from "../brokers.js";
import { ask, withConnection } from "./ask.js";
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

/** Pieces that are stored at once. */
const piecesAtOnce = 16;

/** How long it may take to fill a store, in ms: a machine may be too busy for it. */
const fillLimitMs = 15_000;

/** Fills what the servers may store, and makes room again. */
async function fillStore(
  servers: readonly NatsServer[],
  megabytes: number,
  ms: number,
): Promise<void> {
  try {
    await withConnection(servers, filler, (nats) => fill(nats, megabytes, servers.length));
    await delay(ms);
  } finally {
    // However many servers are down just now: a store that stays full ends every call's way.
    while (!(await isGone(servers, "FILLER"))) {
      await delay(500);
    }
  }
}

async function fill(nats: NatsConnection, megabytes: number, replicas: number): Promise<void> {
  const config = { name: "FILLER", subjects: ["filler"], storage: "file", num_replicas: replicas };
  await nats.request("$JS.API.STREAM.CREATE.FILLER", JSON.stringify(config), { timeout: 3000 });
  const until = Date.now() + fillLimitMs;
  for (let left = 4 * (megabytes + 50); left > 0 && Date.now() < until; left -= piecesAtOnce) {
    const replies = await Promise.all(
      Array.from({ length: piecesAtOnce }, () =>
        nats.request("filler", piece, { timeout: 3000 }).catch(() => undefined),
      ),
    );
    if (replies.some((reply) => reply?.string().includes('"error"'))) {
      return;
    }
  }
}

/** Deletes a stream; false when nobody says that it is gone. */
async function isGone(servers: readonly NatsServer[], stream: string): Promise<boolean> {
  const reply = await ask(servers, `$JS.API.STREAM.DELETE.${stream}`, filler);
  const answer = reply?.json() as { success?: boolean; error?: { err_code: number } } | undefined;
  return answer?.success === true || answer?.error?.err_code === streamNotFound;
}
