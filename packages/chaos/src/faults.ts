import { setTimeout as delay } from "node:timers/promises";
import type { NatsServer } from "@jetrpc/testing";
import { connect, type Msg } from "@nats-io/transport-node";
import type { Member } from "./arena.js";
import type { Random } from "./random.js";

/** All that can be harmed. */
export interface Targets {
  readonly servers: readonly NatsServer[];
  readonly workers: readonly Member[];
  readonly clients: readonly Member[];
  /** Name of the queue stream. */
  readonly stream: string;
  /** What the servers may store. */
  readonly storeMegabytes: number;
}

/** A harm that is done, and undone when `run` resolves. */
export interface Fault {
  readonly name: string;
  run(): Promise<void>;
}

/** Chooses what goes wrong next, among the faults with a name that matches. */
export function nextFault(random: Random, targets: Targets, names: RegExp): Fault {
  const { servers, workers, clients, stream, storeMegabytes } = targets;
  const server = random.pick(servers);
  const member = random.pick(random.chance(0.6) ? workers : clients);
  const shortly = random.between(200, 3_000);
  const long = random.between(500, 6_000);
  const all = (harm: (proxy: Member["proxies"][number]) => void) => async () => {
    member.proxies.forEach(harm);
    await delay(long);
    for (const proxy of member.proxies) {
      proxy.mend();
    }
  };
  const faults: Fault[] = [
    { name: "kill -9 of a worker or client", run: () => member.crash("SIGKILL", shortly) },
    { name: "kill -9 of a worker or client", run: () => member.crash("SIGKILL", 0) },
    { name: "SIGTERM of a worker or client", run: () => member.crash("SIGTERM", shortly) },
    { name: "SIGSTOP of a worker or client", run: () => member.suspend(long) },
    {
      name: "cut connections",
      run: async () => {
        for (const proxy of member.proxies) {
          proxy.cut();
        }
      },
    },
    { name: "refused connections", run: all((proxy) => proxy.refuse()) },
    { name: "silent connections", run: all((proxy) => proxy.silence()) },
    { name: "slow connections", run: all((proxy) => proxy.slow(random.between(20, 400))) },
    {
      name: "kill -9 of a server",
      async run() {
        await server.kill();
        await delay(shortly);
        await restart(server);
      },
    },
    {
      name: "SIGTERM of a server",
      async run() {
        process.kill(server.pid, "SIGTERM");
        await delay(shortly);
        await restart(server);
      },
    },
    {
      name: "SIGSTOP of a server",
      async run() {
        server.suspend();
        await delay(long);
        server.resume();
      },
    },
    { name: "full store of the servers", run: () => fillStore(servers, storeMegabytes, shortly) },
  ];
  if (servers.length > 1) {
    const leaders = [
      `STREAM.LEADER.STEPDOWN.${stream}`,
      `STREAM.LEADER.STEPDOWN.${stream}_LOG`,
      `CONSUMER.LEADER.STEPDOWN.${stream}.Work`,
      `CONSUMER.LEADER.STEPDOWN.${stream}.Count`,
      `CONSUMER.LEADER.STEPDOWN.${stream}.Convert`,
      `STREAM.LEADER.STEPDOWN.OBJ_${stream}_PAYLOAD`,
    ];
    for (const api of leaders) {
      faults.push({
        name: "leader step-down",
        run: async () => void (await ask(servers, [`$JS.API.${api}`])),
      });
    }
  }
  const chosen = faults.filter(({ name }) => names.test(name));
  if (chosen.length === 0) {
    const known = [...new Set(faults.map(({ name }) => name))];
    throw new Error(`--faults ${names.source} matches none of: ${known.join(", ")}`);
  }
  return random.pick(chosen);
}

/** Another program may have the server's port for a moment. */
async function restart(server: NatsServer): Promise<void> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await server.restart();
    } catch (error) {
      if (attempt === 20) {
        throw error;
      }
      await delay(500);
    }
  }
}

/** JetStream's code for a stream that does not exist. */
const streamNotFound = 10059;

/** Fills what the servers may store, and makes room again. */
async function fillStore(
  servers: readonly NatsServer[],
  megabytes: number,
  ms: number,
): Promise<void> {
  const config = {
    name: "FILLER",
    subjects: ["filler"],
    storage: "file",
    num_replicas: servers.length,
  };
  try {
    await ask(servers, ["$JS.API.STREAM.CREATE.FILLER", JSON.stringify(config)]);
    const megabyte = new Uint8Array(1_000_000);
    await ask(
      servers,
      ...Array.from({ length: megabytes + 50 }, () => ["filler", megabyte] as const),
    );
    await delay(ms);
  } finally {
    // However many servers are down just now: a store that stays full ends every call's way.
    while (!(await isGone(servers, "FILLER"))) {
      await delay(500);
    }
  }
}

/** Deletes a stream; false when nobody says that it is gone. */
async function isGone(servers: readonly NatsServer[], stream: string): Promise<boolean> {
  const reply = await ask(servers, [`$JS.API.STREAM.DELETE.${stream}`]);
  const answer = reply?.json() as { success?: boolean; error?: { err_code: number } } | undefined;
  return answer?.success === true || answer?.error?.err_code === streamNotFound;
}

/**
 * Sends requests to whichever server answers, and returns the last answer. What is not
 * answered is left at that.
 */
async function ask(
  servers: readonly NatsServer[],
  ...requests: (readonly [string, (string | Uint8Array)?])[]
): Promise<Msg | undefined> {
  let reply: Msg | undefined;
  try {
    const nats = await connect({ servers: servers.map(({ url }) => url), timeout: 2000 });
    for (const [subject, payload] of requests) {
      reply = await nats.request(subject, payload, { timeout: 3000 }).catch(() => undefined);
      if (subject === "filler" && reply?.string().includes('"error"')) {
        break;
      }
    }
    await nats.close();
  } catch {
    // No server is there right now.
  }
  return reply;
}
