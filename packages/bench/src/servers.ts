import { type NatsCluster, type NatsServer, startNats, startNatsCluster } from "@jetrpc/testing";
import type { ServersName } from "./subject.js";

const always = "jetstream { sync_interval: always }\n";

/** The nats-servers of a run. */
export class Servers implements AsyncDisposable {
  private readonly running: Promise<NatsServer | NatsCluster>[] = [];

  /**
   * Starts servers for one subject, and gives their URLs and process ids. Subjects that shared them
   * would answer each other's calls: their workers serve the same methods.
   */
  async start(name: ServersName = "one"): Promise<{ urls: string[]; pids: number[] }> {
    const starting = start(name);
    this.running.push(starting);
    const running = await starting;
    const servers = "servers" in running ? running.servers : [running];
    return { urls: servers.map(({ url }) => url), pids: servers.map(({ pid }) => pid) };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const start of await Promise.allSettled(this.running)) {
      if (start.status === "fulfilled") {
        await start.value.stop();
      }
    }
  }
}

function start(name: ServersName): Promise<NatsServer | NatsCluster> {
  switch (name) {
    case "one":
      return startNats();
    case "one-always":
      return startNats({ config: always });
    case "three-always":
      return startNatsCluster({ config: always });
  }
}
