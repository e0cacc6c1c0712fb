import { setTimeout as delay } from "node:timers/promises";
import type { FaultSource } from "./fault.js";

/** Processes that end, stop or stand still. */
export const processFaults: FaultSource = (random, { workers, clients }) => {
  const members = random.chance(0.6) ? workers : clients;
  const mortal = random.pick(members.filter(({ isSpared }) => !isSpared));
  const member = random.pick(members);
  // All at once, too: then calls wait, and there is one for every slot too many.
  const blocked = random.chance(0.3) ? workers : [random.pick(workers)];
  const shortly = random.between(200, 3_000);
  const long = random.between(500, 9_000);
  // Longer than a worker may be silent, and often than a pull may.
  const blockMs = random.between(1_500, 9_000);
  return [
    { name: "kill -9 of a worker or client", run: () => mortal.crash("SIGKILL", shortly) },
    { name: "kill -9 of a worker or client", run: () => mortal.crash("SIGKILL", 0) },
    { name: "SIGTERM of a worker or client", run: () => mortal.crash("SIGTERM", shortly) },
    { name: "SIGSTOP of a worker or client", run: () => member.suspend(long) },
    {
      name: "blocked event loop of workers",
      async run() {
        for (const worker of blocked) {
          worker.send(`${blockMs}`);
        }
        await delay(blockMs);
      },
    },
  ];
};
