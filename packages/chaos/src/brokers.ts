import { type NatsServer, startNats, startNatsCluster } from "@jetrpc/testing";

/**
 * Starts one nats-server, or a cluster of three, with real files, and room for so
 * many MB: so little that a fault can fill it.
 */
export async function startBrokers(
  nodes: 1 | 3,
  megabytes: number,
): Promise<readonly NatsServer[]> {
  const config = `jetstream { max_file_store: ${megabytes}MB }`;
  return nodes === 1
    ? [await startNats({ config })]
    : (await startNatsCluster({ size: nodes, config })).servers;
}
