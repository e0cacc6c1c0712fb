import type { Random } from "../random.js";
import { connectionFaults } from "./connection-faults.js";
import type { Fault, Targets } from "./fault.js";
import { leaderFaults } from "./leader-faults.js";
import { poisonFaults } from "./poison-faults.js";
import { processFaults } from "./process-faults.js";
import { removalFaults } from "./removal-faults.js";
import { serverFaults } from "./server-faults.js";
import { storageFaults } from "./storage-faults.js";

const sources = [
  processFaults,
  connectionFaults,
  serverFaults,
  storageFaults,
  leaderFaults,
  removalFaults,
  poisonFaults,
];

/** Chooses what goes wrong next, among the faults with a name that matches. */
export function nextFault(random: Random, targets: Targets, names: RegExp): Fault {
  const faults = sources.flatMap((source) => source(random, targets));
  const chosen = faults.filter(({ name }) => names.test(name));
  if (chosen.length === 0) {
    const known = [...new Set(faults.map(({ name }) => name))];
    throw new Error(`--faults ${names.source} matches none of: ${known.join(", ")}`);
  }
  return random.pick(chosen);
}
