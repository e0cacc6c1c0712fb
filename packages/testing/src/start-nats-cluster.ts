import { setTimeout as delay } from "node:timers/promises";
import { findNatsServer } from "./find-nats-server.js";
import { freePorts } from "./free-ports.js";
import { type NatsOptions, type NatsServer, type SingleServer, startServer } from "./start-nats.js";

/** How long the servers may take to agree on a leader, in ms. */
const readyLimitMs = 60_000;

/** Options of {@link startNatsCluster}. */
export interface NatsClusterOptions extends Pick<NatsOptions, "config" | "maxPayload" | "binary"> {
  /** How many servers. Default: 3. */
  size?: number | undefined;
}

/** Several nats-servers that are one. */
export interface NatsCluster {
  /** Each with the name `n1`, `n2`, ... */
  readonly servers: readonly NatsServer[];
  /** For a client to connect to: those of all servers. */
  readonly urls: string[];
  /** Waits until every server that runs has caught up. Rejects with the reason after 60 s. */
  whenReady(): Promise<void>;
  /** Ends all servers and removes their temporary folders. */
  stop(): Promise<void>;
  /** The same as `stop()`: for `await using`. */
  [Symbol.asyncDispose](): Promise<void>;
}

/**
 * Starts a cluster of real nats-servers with JetStream on 127.0.0.1, each as
 * {@link startNats} does, and resolves when JetStream has its leader (some 3 s).
 *
 * Rejects as `startNats()` does, and when no leader is found within 60 s.
 */
export async function startNatsCluster(options: NatsClusterOptions = {}): Promise<NatsCluster> {
  for (let tries = 1; ; tries++) {
    try {
      return await startOnFreePorts(options);
    } catch (error) {
      // Another program may take a port before the server does.
      if (tries === 5 || !`${error}`.includes("address already in use")) {
        throw error;
      }
    }
  }
}

async function startOnFreePorts(options: NatsClusterOptions): Promise<NatsCluster> {
  const { size = 3, config = "", ...rest } = options;
  const binary = options.binary ?? (await findNatsServer()).path;
  // Each server has to know the ports of all beforehand.
  const ports = await freePorts(size);
  const routes = ports.map((port) => `nats://127.0.0.1:${port}`).join(", ");
  const starts = await Promise.allSettled(
    ports.map((port, index) => {
      const cluster = `server_name: n${index + 1}
cluster { name: jetrpc-test, listen: "127.0.0.1:${port}", routes: [${routes}], no_advertise: true }
`;
      return startServer({ ...rest, binary, config: cluster + config }, "--http_port", "-1");
    }),
  );
  const servers = starts.flatMap((start) => (start.status === "fulfilled" ? [start.value] : []));
  const cluster = new Cluster(servers);
  try {
    for (const start of starts) {
      if (start.status === "rejected") {
        throw start.reason;
      }
    }
    await cluster.whenReady();
    return cluster;
  } catch (error) {
    await cluster.stop();
    throw error;
  }
}

class Cluster implements NatsCluster {
  readonly urls: string[];

  constructor(readonly servers: readonly SingleServer[]) {
    this.urls = servers.map(({ url }) => url);
  }

  async whenReady(): Promise<void> {
    const limit = AbortSignal.timeout(readyLimitMs);
    for (;;) {
      const reasons = await Promise.all(this.servers.map(illness));
      if (reasons.every((reason) => reason === undefined)) {
        return;
      }
      if (limit.aborted) {
        throw new Error(
          `the cluster is not ready after ${readyLimitMs / 1000} s: ${reasons.filter(Boolean).join("; ")}`,
        );
      }
      await delay(50);
    }
  }

  async stop(): Promise<void> {
    await Promise.all(this.servers.map((server) => server.stop()));
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.stop();
  }
}

/** The streams and consumers that a server leads, as /jsz shows them. */
interface Led {
  readonly name: string;
  readonly cluster?: {
    readonly leader?: string;
    readonly replicas?: readonly Replica[];
  };
}

interface Replica {
  readonly name: string;
  readonly current: boolean;
  /** When it was heard last, in ns before now. */
  readonly active: number;
}

interface Jsz {
  readonly account_details?: readonly {
    readonly stream_detail?: readonly (Led & { readonly consumer_detail?: readonly Led[] })[];
  }[];
}

/** A leader hears from each of the others once a second. */
const silentNs = 2e9;

/** Why a server is not ready; undefined when it is, or when it does not run. */
async function illness(
  server: SingleServer,
  index: number,
  servers: readonly SingleServer[],
): Promise<string | undefined> {
  if (!server.isRunning) {
    return undefined;
  }
  const name = `n${index + 1}`;
  try {
    const { status, error } = await ask<{ status: string; error?: string }>(server, "healthz");
    if (status !== "ok") {
      return `${name}: ${error ?? status}`;
    }
    // Its word on itself is not enough: it may not know yet what it lacks.
    const jsz = await ask<Jsz>(server, "jsz?streams=true&consumers=true");
    const streams = jsz.account_details?.flatMap((account) => account.stream_detail ?? []) ?? [];
    for (const led of streams.flatMap((stream) => [stream, ...(stream.consumer_detail ?? [])])) {
      const late = led.cluster?.leader === name && led.cluster.replicas?.find(isLate(servers));
      if (late) {
        return `${late.name}: ${led.name} is not current`;
      }
    }
    return undefined;
  } catch (error) {
    return `${name}: ${error}`;
  }
}

function isLate(servers: readonly SingleServer[]): (replica: Replica) => boolean {
  return ({ name, current, active }) =>
    servers[Number(name.slice(1)) - 1]?.isRunning === true && (!current || active > silentNs);
}

async function ask<T>({ monitorUrl }: SingleServer, path: string): Promise<T> {
  const response = await fetch(`${monitorUrl}/${path}`, { signal: AbortSignal.timeout(5_000) });
  return (await response.json()) as T;
}
