import { ConnectError } from "@jetrpc/runtime";
import type { NatsConnection } from "@nats-io/nats-core";
import { askMonitor } from "../monitors.js";
import { error, type Finding, note, ok, warning } from "./finding.js";

/** How long servers may take to tell of themselves, in ms. */
const timeoutMs = 1_000;

/** The part of a server's /varz that is read here. */
interface Varz {
  readonly server_name?: string;
  readonly jetstream?: {
    readonly config?: {
      /** In ns. */
      readonly sync_interval?: number;
      readonly sync_always?: boolean;
    };
  };
}

/**
 * Looks how often the servers sync their disks: at their monitoring ports, or, with
 * credentials of the system account, by NATS. Others cannot see it.
 */
export async function checkSync(
  nats: NatsConnection,
  monitors: readonly string[] = [],
): Promise<Finding[]> {
  const findings: Finding[] = [];
  const servers: Varz[] = monitors.length > 0 ? [] : await askServers(nats);
  for (const url of monitors) {
    try {
      servers.push(await askMonitor<Varz>(url, "varz"));
    } catch (cause) {
      const { rawMessage } = ConnectError.from(cause);
      findings.push(error(rawMessage, "give the URL of http_port: http://127.0.0.1:8222"));
    }
  }
  if (servers.length + findings.length === 0) {
    const text = "these credentials cannot see how often the disk is synced";
    return [note(text, "give --monitor http://HOST:8222, the monitoring port of each server")];
  }
  return [...findings, ...servers.flatMap(judge)];
}

function judge({ server_name: name, jetstream }: Varz): Finding[] {
  const config = jetstream?.config;
  if (!config) {
    return [];
  }
  const seconds = (config.sync_interval ?? 120e9) / 1e9;
  return [
    config.sync_always
      ? ok(`server ${name} syncs its disk before it acknowledges`)
      : warning(
          `server ${name} syncs its disk every ${seconds} s: accepted calls are lost when it loses power, alone or with others of a cluster`,
          "set sync_interval: always in jetstream { }, on every server, with replicas: 3 in a cluster",
        ),
  ];
}

/** Only the system account is answered. */
async function askServers(nats: NatsConnection): Promise<Varz[]> {
  const servers: Varz[] = [];
  try {
    const replies = await nats.requestMany("$SYS.REQ.SERVER.PING.VARZ", "", {
      strategy: "timer",
      maxWait: timeoutMs,
    });
    for await (const reply of replies) {
      const { data } = reply.json<{ data?: Varz }>();
      if (data) {
        servers.push(data);
      }
    }
  } catch {
    // Not of the system account.
  }
  return servers;
}
