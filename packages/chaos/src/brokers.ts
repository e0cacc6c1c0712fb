import { readFile, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { type NatsServer, startNats, startNatsCluster } from "@jetrpc/testing";

/** Greatest message: so little that it costs little to exceed it. */
const maxPayloadBytes = 256 * 1024;

/** A user that stores beside the calls, in an account of its own. */
export const filler = { user: "filler", pass: "filler" };

/**
 * Starts one nats-server, or a cluster of three, with real files, and room for so
 * many MB: so little that a fault can fill it. A connection without a user is in the account of
 * the calls.
 */
export async function startBrokers(
  nodes: 1 | 3,
  megabytes: number,
): Promise<readonly NatsServer[]> {
  const config = `jetstream { max_file_store: ${megabytes}MB }
accounts {
  CALLS {
    jetstream { max_file: -1 }
    users [ { user: calls, password: calls } ]
  }
  FILLER {
    jetstream: enabled
    users [ { user: ${filler.user}, password: ${filler.pass} } ]
  }
}
no_auth_user: calls
`;
  const options = { config, maxPayload: maxPayloadBytes };
  return nodes === 1
    ? [await startNats(options)]
    : (await startNatsCluster({ size: nodes, ...options })).servers;
}

/** Changes what the account of the calls may store, in bytes; -1 for all that the server can. */
export async function limitAccount(servers: readonly NatsServer[], bytes: number): Promise<void> {
  for (const server of servers) {
    const path = join(dirname(server.logFile), "nats-server.conf");
    const text = await readFile(path, "utf8");
    await writeFile(path, text.replace(/max_file: -?\d+/, `max_file: ${bytes}`));
    try {
      process.kill(server.pid, "SIGHUP");
    } catch {
      // It is down, and reads its configuration when it starts.
    }
  }
}
