import type { DescService } from "@bufbuild/protobuf";
import type { Connection } from "@jetrpc/runtime";
import { describeInfrastructure } from "@jetrpc/runtime/operator";
import { bindService } from "@jetrpc/runtime/schema";
import type { Clock } from "./clock.js";
import { error, type Finding, warning } from "./finding.js";
import { askJetStream, type StreamState } from "./jetstream.js";

/** Looks at the copies of a service's streams, and has the clock compared with that of who leads each. */
export async function checkStreams(
  connection: Connection,
  service: DescService,
  clock: Clock,
): Promise<Finding[]> {
  const binding = bindService(service);
  const { streams, payloads } = describeInfrastructure(binding);
  const isCluster = connection.nats.info?.cluster !== undefined;
  const findings = checkReplicas(service.typeName, binding.replicas, isCluster);
  for (const { name } of [...streams, payloads]) {
    const askedAt = Date.now();
    // Other findings tell that these credentials may not look at a stream.
    const state = await askJetStream<StreamState>(connection, `STREAM.INFO.${name}`).catch(
      () => undefined,
    );
    if (state) {
      clock.compare(Date.parse(state.ts), askedAt, Date.now());
      findings.push(...checkCopies(name, state));
    }
  }
  return findings;
}

function checkReplicas(typeName: string, replicas: number, isCluster: boolean): Finding[] {
  if (replicas > 1 && !isCluster) {
    return [
      error(
        `${typeName}: the schema wants ${replicas} copies, and this server is in no cluster`,
        "connect to a cluster, or set replicas: 1",
      ),
    ];
  }
  if (replicas === 1 && isCluster) {
    return [
      warning(
        `${typeName}: one server of the cluster alone has its calls`,
        "set replicas: 3 in (jetrpc.v1.service), and run `jetrpc apply`",
      ),
    ];
  }
  return [];
}

function checkCopies(name: string, { config, cluster }: StreamState): Finding[] {
  if (config.num_replicas > 1 && !cluster?.leader) {
    return [
      error(`stream ${name} has no leader`, "start the servers of the cluster that are down"),
    ];
  }
  const others = cluster?.replicas ?? [];
  const copies = others.length + 1;
  const findings = others
    .filter(({ current, offline }) => offline || !current)
    .map(({ name: server, offline, lag = 0 }) =>
      warning(
        `stream ${name}: the copy on ${server} ${offline ? "is offline" : `is ${lag} writes behind`}`,
        offline ? `start ${server}` : "wait; look at that server if it stays so",
      ),
    );
  return copies < config.num_replicas
    ? [
        ...findings,
        warning(
          `stream ${name} has ${copies} of its ${config.num_replicas} copies yet`,
          "wait until the cluster has made them; losing a server now may stop the stream",
        ),
      ]
    : findings;
}
