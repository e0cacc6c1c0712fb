import type { DescService } from "@bufbuild/protobuf";
import type { Connection } from "@jetrpc/runtime";
import { describeInfrastructure } from "@jetrpc/runtime/operator";
import { bindService } from "@jetrpc/runtime/schema";
import { error, type Finding, ok, warning } from "./finding.js";
import { askJetStream, type StreamState } from "./jetstream.js";

/** A difference of clocks from which on times are misleading, in ms. */
const clockToleranceMs = 1_000;

/** Looks at the copies of a service's streams, and at the server's clock. */
export async function checkStreams(
  connection: Connection,
  service: DescService,
): Promise<Finding[]> {
  const binding = bindService(service);
  const { streams, payloads } = describeInfrastructure(binding);
  const isCluster = connection.nats.info?.cluster !== undefined;
  const findings = checkReplicas(service.typeName, binding.replicas, isCluster);
  let clock: Finding | undefined;
  for (const { name } of [...streams, payloads]) {
    const askedAt = Date.now();
    // Other findings tell that these credentials may not look at a stream.
    const state = await askJetStream<StreamState>(connection, `STREAM.INFO.${name}`).catch(
      () => undefined,
    );
    if (state) {
      clock ??= checkClock(Date.parse(state.ts), askedAt, Date.now());
      findings.push(...checkCopies(name, state));
    }
  }
  return clock ? [...findings, clock] : findings;
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

/** The server's time lies between question and answer when the clocks agree. */
function checkClock(serverMs: number, askedAt: number, answeredAt: number): Finding {
  const ahead = askedAt - serverMs;
  const behind = serverMs - answeredAt;
  const apart = Math.max(ahead, behind);
  return apart > clockToleranceMs
    ? warning(
        `this machine's clock is ${(apart / 1000).toFixed(1)} s ${ahead > behind ? "ahead of" : "behind"} the server's`,
        "set both by NTP: notBefore and the times of dead letters depend on them",
      )
    : ok("this machine's clock agrees with the server's");
}
