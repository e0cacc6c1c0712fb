import { setTimeout as delay } from "node:timers/promises";
import type { CallKind } from "./kinds.js";

const tickMs = 20;

/** After a standstill, calls of at most this time are made up for, in ms. */
const longestTickMs = 250;

/** So many calls of a kind. */
interface Due {
  readonly kind: CallKind;
  readonly count: number;
}

/** Says from time to time which calls are to be made now. */
export async function* pace(
  kinds: readonly CallKind[],
  callsPerSecond: number,
  clients: number,
): AsyncGenerator<readonly Due[], void, undefined> {
  const owed = new Map<CallKind, number>();
  for (let at = performance.now(); ; ) {
    await delay(tickMs);
    const now = performance.now();
    const seconds = Math.min(now - at, longestTickMs) / 1000;
    at = now;
    const due: Due[] = [];
    for (const kind of kinds) {
      const { frequency } = kind;
      const perSecond =
        "share" in frequency ? frequency.share * callsPerSecond : frequency.perSecond;
      const sum = (owed.get(kind) ?? 0) + (perSecond / clients) * seconds;
      const count = Math.floor(sum);
      owed.set(kind, sum - count);
      if (count > 0) {
        due.push({ kind, count });
      }
    }
    yield due;
  }
}
