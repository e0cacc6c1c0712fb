import { Code, ConnectError } from "@connectrpc/connect";
import { countPlace, endAt, type Place, rangeOf, readPlace } from "../ledger/call-places.js";
import { countCalls, oldestQueued } from "../ledger/queues.js";
import type { Link } from "../link/link.js";
import type { CallOutcome } from "../link/observer.js";
import { checkTimeoutMs } from "../link/timer.js";
import { until } from "../link/until.js";
import { durableMethods, type MethodBinding, type ServiceBinding } from "../schema/binding.js";
import { methodNameOf } from "../schema/call-subjects.js";

/** How many calls of a method are in which state. */
export interface CallCounts {
  /** Name of the method, as the .proto writes it. */
  readonly method: string;
  /** Calls that start later. */
  readonly scheduled: number;
  /** Calls that no worker has yet; those that are due included. */
  readonly queued: number;
  /** Calls that a worker has, or that wait for their next attempt. */
  readonly running: number;
  /** Dead letters. */
  readonly failed: number;
  /** When the oldest request that no worker has was stored; undefined when none waits. */
  readonly oldestQueuedAt?: Date | undefined;
  /** What happened lately. */
  readonly recent: RecentCalls;
}

/** What happened to the calls of a method within a time. */
export interface RecentCalls {
  /**
   * The time that was looked at, back from now, in ms: the window that was asked for, or less
   * where it holds more than `maxEntries` of logs. Divide by it to have a rate.
   */
  readonly windowMs: number;
  /** Calls that were accepted within it: those that ended since, and those that have not. */
  readonly accepted: number;
  readonly succeeded: number;
  readonly failed: number;
  readonly cancelled: number;
  readonly expired: number;
}

/** Options of `countCalls()`. */
export interface CountOptions {
  /** The time that `recent` looks back, in ms; Infinity for all that is kept. Default: 5 minutes. */
  windowMs?: number | undefined;
  /**
   * Entries of logs that `recent` looks at, at most; Infinity for all in the window: a million takes
   * seconds. Default: 20,000.
   */
  maxEntries?: number | undefined;
}

/** Entries of logs that are asked for at once. */
const entriesAtOnce = 4096;

/** What ended in a time, of one method. */
type Tally = Record<CallOutcome | "accepted", number>;

/** Counts the calls of the durable methods of a service. Throws InvalidArgument for an impossible option. */
export async function countAll(
  link: Link,
  service: ServiceBinding,
  { windowMs = 300_000, maxEntries = 20_000 }: CountOptions,
): Promise<CallCounts[]> {
  checkTimeoutMs(windowMs, "windowMs");
  if (!(maxEntries >= 1)) {
    const text = `maxEntries is ${String(maxEntries)}, and must be a number of 1 or more`;
    throw new ConnectError(text, Code.InvalidArgument);
  }
  const now = link.clock.nowMs;
  const { tallies, sinceMs } = await readRecent(link, service, now - windowMs, maxEntries);
  const counts = durableMethods(service).map((method) =>
    countMethod(link, method, tallies.get(method.desc.name), sinceMs),
  );
  const windowed = now - sinceMs;
  return (await Promise.all(counts)).map((each) => ({
    ...each,
    recent: { ...each.recent, windowMs: windowed },
  }));
}

/** Tells how the calls ended whose end was stored since a time, as far as entries are looked at. */
async function readRecent(
  link: Link,
  service: ServiceBinding,
  wantedMs: number,
  maxEntries: number,
): Promise<{ tallies: Map<string, Tally>; sinceMs: number }> {
  const tallies = new Map<string, Tally>();
  const range = await until(link, () => rangeOf(link, service, "log", undefined));
  const reader = range && readPlace(link, service, "log", {}, range);
  let left = maxEntries;
  let sinceMs = wantedMs;
  while (reader) {
    const entries = await until(link, () =>
      reader.next(Math.min(entriesAtOnce, Math.ceil(left / 2)), (stored) => {
        const { storedAtMs, subject } = stored;
        const end = storedAtMs >= wantedMs ? endAt(stored) : undefined;
        const { outcome, acceptedAtMs = 0 } = end ?? {};
        return { storedAtMs, outcome, acceptedAtMs, method: methodNameOf(service, subject) };
      }),
    );
    if (!entries) {
      break;
    }
    for (const { method, outcome, acceptedAtMs } of entries.slice(0, left)) {
      if (outcome) {
        const none = { accepted: 0, succeeded: 0, failed: 0, cancelled: 0, expired: 0 };
        const tally = tallies.get(method) ?? none;
        tally[outcome]++;
        tally.accepted += Number(acceptedAtMs >= wantedMs);
        tallies.set(method, tally);
      }
    }
    const oldest = entries[Math.min(left, entries.length) - 1];
    left -= entries.length;
    if (oldest && oldest.storedAtMs < wantedMs) {
      break;
    }
    if (left <= 0) {
      sinceMs = oldest?.storedAtMs ?? wantedMs;
      break;
    }
  }
  return { tallies, sinceMs: Math.max(sinceMs, 0) };
}

async function countMethod(
  link: Link,
  method: MethodBinding,
  tally: Tally | undefined,
  sinceMs: number,
): Promise<CallCounts> {
  const its = { method: method.desc.name };
  const count = (place: Place, since?: number) =>
    until(link, () => countPlace(link, method.service, place, its, since));
  const [{ running }, oldest, inQueues, scheduled, due, failed, ...fresh] = await Promise.all([
    until(link, () => countCalls(link, method)),
    until(link, () => oldestQueued(link, method)),
    // Before its first worker a method has no consumer.
    count("queue"),
    count("later"),
    count("due"),
    count("dead"),
    count("later", sinceMs),
    count("due", sinceMs),
    count("queue", sinceMs),
  ]);
  const { accepted = 0, succeeded = 0, cancelled = 0, expired = 0 } = tally ?? {};
  return {
    method: its.method,
    scheduled,
    queued: Math.max(0, inQueues - running) + due,
    running,
    failed,
    ...(oldest !== undefined && { oldestQueuedAt: new Date(oldest) }),
    recent: {
      windowMs: 0,
      accepted: fresh.reduce((sum, each) => sum + each, accepted),
      succeeded,
      failed: tally?.failed ?? 0,
      cancelled,
      expired,
    },
  };
}
