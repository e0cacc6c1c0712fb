import { Code, ConnectError } from "@jetrpc/runtime";
import { askMonitor, monitorLabel } from "../monitors.js";
import { collectJetStream, type Jsz } from "./jsz.js";
import type { Samples } from "./samples.js";
import { collectCertificates, collectVarz, type Varz } from "./varz.js";

interface Connz {
  readonly num_connections?: number;
  readonly total?: number;
  readonly offset?: number;
  readonly limit?: number;
  readonly connections?: readonly Readonly<Record<string, unknown>>[] | null;
}

/**
 * The monitoring port of a nats-server, under the names of prometheus-nats-exporter, so that
 * dashboards made for that one fit. Label `server_id` is the name of the server: an id is
 * another one after each restart.
 */
export class Monitor {
  readonly label: string;
  /** Of the last answer: a server that is away cannot tell it. */
  private serverName: string;

  constructor(private readonly url: string) {
    this.label = monitorLabel(url);
    this.serverName = this.label;
  }

  /** Errors: Unavailable when the port does not answer, or not as a nats-server does. */
  async collect(samples: Samples): Promise<void> {
    const [varz, jsz, connz, health] = await Promise.all([
      askMonitor<Varz>(this.url, "varz"),
      askMonitor<Jsz>(this.url, "jsz?consumers=true&config=true&raft=true"),
      askMonitor<Connz>(this.url, "connz"),
      askMonitor<{ status?: string }>(this.url, "healthz"),
    ]);
    if (typeof varz.server_id !== "string" || typeof varz.server_name !== "string") {
      throw new ConnectError(
        `what answers at ${this.label} is no monitoring port of a nats-server: look at --monitor`,
        Code.Unavailable,
      );
    }
    this.serverName = varz.server_name;
    const server_id = this.serverName;
    collectVarz(varz, server_id, samples);
    collectCertificates(varz, server_id, samples);
    collectJetStream(jsz, server_id, samples);
    collectConnections(connz, server_id, samples);
    const isWell = health.status === "ok";
    samples.gauge(
      "gnatsd_healthz_status",
      "0 when the server is well",
      { server_id },
      Number(!isWell),
    );
    this.tellStatus(samples, health.status ?? "", isWell);
  }

  /** The part of a server that does not answer. */
  tellUnreachable(samples: Samples): void {
    this.tellStatus(samples, "unreachable", false);
  }

  private tellStatus(samples: Samples, value: string, isWell: boolean): void {
    const labels = { server_id: this.serverName, value };
    samples.gauge(
      "gnatsd_healthz_status_value",
      "1 when the server is well",
      labels,
      Number(isWell),
    );
  }
}

/** Sums over the connections that the server lists: 1,024 of them at most. */
const sums = {
  total_pending_bytes: "pending_bytes",
  total_subscriptions: "subscriptions",
  total_in_bytes: "in_bytes",
  total_out_bytes: "out_bytes",
  total_in_msgs: "in_msgs",
  total_out_msgs: "out_msgs",
} as const;

function collectConnections(connz: Connz, server_id: string, samples: Samples): void {
  for (const field of ["num_connections", "total", "offset", "limit"] as const) {
    samples.gauge(`gnatsd_connz_${field}`, `${field} of /connz`, { server_id }, connz[field] ?? 0);
  }
  for (const [name, field] of Object.entries(sums)) {
    const sum = (connz.connections ?? []).reduce((all, each) => all + Number(each[field] ?? 0), 0);
    samples.gauge(`gnatsd_connz_${name}`, `${field} of the open connections`, { server_id }, sum);
  }
}
