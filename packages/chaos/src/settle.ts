import { setTimeout as delay } from "node:timers/promises";
import type { Member } from "./arena.js";
import type { Checker } from "./checker.js";
import type { Said } from "./message.js";
import type { Findings } from "./verdict.js";

/** How long nothing more may end before what is left counts as stuck, in ms. */
const graceMs = 90_000;

/** A second look may see more than the first: servers of a cluster lag behind one another. */
const looksAtMost = 4;

/**
 * Waits until every call has ended, or until none ends any more; then tells what is there.
 * `probe` makes a few calls when all is quiet, and `hear` has the checker know what all
 * processes have said.
 */
export async function settle(
  checker: Checker,
  clients: readonly Member[],
  probe: () => Promise<readonly Said[]>,
  hear: () => void,
): Promise<Findings> {
  const isQuiet = await untilQuiet(checker, clients);
  for (const said of await probe()) {
    checker.hear(said);
  }
  if (isQuiet) {
    await untilQuiet(checker, clients);
  }
  if (clients.some((client) => client.isRunning)) {
    checker.miss("stuck", "an answer that did not come: a client still waits for it");
  }
  for (let looks = 1; ; looks++) {
    hear();
    try {
      const findings = await checker.check();
      if (findings.failures.length === 0 || looks >= looksAtMost) {
        return await checker.finish(findings);
      }
    } catch (error) {
      if (looks >= looksAtMost) {
        throw error;
      }
    }
    await delay(1_000);
  }
}

/**
 * Calls that are done leave the queues, and so do clients when they have their answers.
 * False when some do not.
 */
async function untilQuiet(checker: Checker, clients: readonly Member[]): Promise<boolean> {
  let least = Number.POSITIVE_INFINITY;
  for (let until = Date.now() + graceMs; Date.now() < until; await delay(500)) {
    const queued = await checker.queued().catch(() => undefined);
    const waiting = clients.filter((client) => client.isRunning).length;
    if (queued !== undefined && queued + waiting < least) {
      least = queued + waiting;
      until = Date.now() + graceMs;
    }
    if (least === 0) {
      return true;
    }
  }
  return false;
}
