import { setTimeout as delay } from "node:timers/promises";
import type { NatsServer } from "@jetrpc/testing";
import type { FaultSource } from "./fault.js";

/** Servers that end or stop. */
export const serverFaults: FaultSource = (random, { servers }) => {
  const server = random.pick(servers);
  const shortly = random.between(200, 3_000);
  // Often longer than a worker waits for a word.
  const long = random.between(500, 9_000);
  return [
    {
      name: "kill -9 of a server",
      needsServers: true,
      async run() {
        await server.kill();
        await delay(shortly);
        await restart(server);
      },
    },
    {
      name: "SIGTERM of a server",
      needsServers: true,
      async run() {
        process.kill(server.pid, "SIGTERM");
        await delay(shortly);
        await restart(server);
      },
    },
    {
      name: "SIGSTOP of a server",
      needsServers: true,
      async run() {
        server.suspend();
        await delay(long);
        server.resume();
      },
    },
  ];
};

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
