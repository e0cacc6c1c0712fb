import { type NatsServer, startNats, startNatsCluster } from "@jetrpc/testing";

/** So little that a fault can fill it. */
const config = "jetstream { max_file_store: 256MB }";

/** Starts one nats-server, or a cluster of three, with real files. */
export async function startBrokers(nodes: 1 | 3): Promise<readonly NatsServer[]> {
  return nodes === 1
    ? [await startNats({ config })]
    : (await startNatsCluster({ size: nodes, config })).servers;
}
