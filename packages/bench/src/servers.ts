import { type NatsCluster, type NatsServer, startNats, startNatsCluster } from "@jetrpc/testing";
import type { ServersName, Subject } from "./subject.js";

const always = "jetstream { sync_interval: always }\n";

/** The nats-servers of a run, each started when it is first needed. */
export class Servers implements AsyncDisposable {
  private readonly running = new Map<string, Promise<NatsServer | NatsCluster>>();

  /**
   * The URLs and the process ids of the servers of a subject, which run from now on. Subjects that
   * shared them would answer each other's calls: their workers serve the same methods.
   */
  async of({ name, servers = "one" }: Subject): Promise<{ urls: string[]; pids: number[] }> {
    let starting = this.running.get(name);
    if (!starting) {
      starting = start(servers);
      this.running.set(name, starting);
    }
    const running = await starting;
    const all = "servers" in running ? running.servers : [running];
    return { urls: all.map(({ url }) => url), pids: all.map(({ pid }) => pid) };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const start of await Promise.allSettled(this.running.values())) {
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
