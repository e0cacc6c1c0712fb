import { once } from "node:events";
import { createServer } from "node:net";
import { setTimeout as delay } from "node:timers/promises";
import { type NatsServer, startNats } from "@jetrpc/testing";
import { connect } from "@nats-io/transport-node";

async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  server.close();
  await once(server, "close");
  return typeof address === "object" && address ? address.port : 0;
}

/** So little that a fault can fill it. */
const limits = "jetstream { max_file_store: 256MB }";

/** Starts one nats-server, or a cluster of three, with real files. */
export async function startBrokers(nodes: 1 | 3): Promise<NatsServer[]> {
  if (nodes === 1) {
    return [await startNats({ config: limits })];
  }
  const ports = await Promise.all([freePort(), freePort(), freePort()]);
  const routes = ports.map((port) => `nats://127.0.0.1:${port}`).join(", ");
  const servers = await Promise.all(
    ports.map((port, i) =>
      startNats({
        config: `${limits}
server_name: n${i + 1}
cluster { name: chaos, listen: "127.0.0.1:${port}", routes: [${routes}], no_advertise: true }`,
      }),
    ),
  );
  await whenReady(servers);
  return servers;
}

/** Waits until JetStream answers: until a cluster has its leader. */
async function whenReady(servers: readonly NatsServer[]): Promise<void> {
  const nats = await connect({ servers: servers.map(({ url }) => url) });
  for (;;) {
    const answer = await nats
      .request("$JS.API.INFO", undefined, { timeout: 1000 })
      .then((reply) => reply.json() as { error?: unknown })
      .catch((error) => ({ error }));
    if (!answer.error) {
      break;
    }
    await delay(100);
  }
  await nats.close();
}
