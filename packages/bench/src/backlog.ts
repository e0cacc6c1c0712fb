import { quantile, ratios, round3, type Spread } from "./figures.js";
import { Load } from "./load.js";
import type { SubmitReply } from "./load-process.js";
import { type ProcessSeen, ProcessWatch } from "./process-watch.js";

/** Bytes of a request, and of its response. */
const payloadBytes = 128;

/** The subject that all others are compared with. */
const reference = "jetrpc durable";

/** The processes and the disk in one round. */
interface RoundSeen {
  readonly client: ProcessSeen;
  readonly workers: readonly ProcessSeen[];
  readonly serverQueueing: ProcessSeen;
  readonly serverDraining: ProcessSeen;
  /** On the server's disk when all was queued, and when all was drained. */
  readonly queuedBytes: number | undefined;
  readonly drainedBytes: number | undefined;
}

/** The backlogs of a subject, as `--json` writes them: the processes and the disk are of the last round. */
export interface BacklogRow extends RoundSeen {
  readonly suite: "backlog";
  readonly name: string;
  readonly calls: number;
  readonly rounds: number;
  /** The medians of all rounds, each figure by itself. */
  readonly queuedPerSecond: number;
  readonly drainedPerSecond: number;
  /** How many times as fast jetrpc was, round by round. */
  readonly jetrpcQueues: Spread | undefined;
  readonly jetrpcDrains: Spread | undefined;
  /** CPU time of a call, in us, of client and server, and of workers and server. */
  readonly queueCpuUs: number;
  readonly drainCpuUs: number;
}

/** A backlog that was drained. */
interface Round {
  readonly queuedPerSecond: number;
  readonly drainedPerSecond: number;
  readonly seen: RoundSeen;
}

/**
 * Queues calls by one client, and drains them by two workers: the subjects in turns, each
 * with a server of its own each time. One that does not start is left out, and `report` is told.
 */
export async function measureBacklogs(
  names: readonly string[],
  counts: readonly number[],
  roundCount: number,
  report: (line: string) => void,
): Promise<BacklogRow[]> {
  const rows: BacklogRow[] = [];
  for (const calls of counts) {
    report(`backlog, ${calls} calls`);
    const rounds = new Map<string, Round[]>(names.map((name) => [name, []]));
    for (let round = 0; round < roundCount; round++) {
      for (const [name, measured] of rounds) {
        const load = await Load.start(name).catch((error) => {
          report(`left out, because it does not start: ${error}`);
        });
        if (load) {
          measured.push(await measure(load, calls));
        } else {
          rounds.delete(name);
        }
      }
    }
    for (const [name, measured] of rounds) {
      rows.push(toRow(name, calls, measured, rounds.get(reference)));
    }
  }
  return rows;
}

/** One backlog, and the end of its server. */
async function measure(started: Load, calls: number): Promise<Round> {
  await using load = started;
  const submitter = await load.spawn("submit");
  const queueing = [submitter, load.server].map(({ pid }) => new ProcessWatch(pid));
  const { seconds } = await load.submit<SubmitReply>(submitter, { calls, payloadBytes });
  const [client, serverQueueing] = queueing.map((watch) => watch.stop()) as [
    ProcessSeen,
    ProcessSeen,
  ];
  const { queued, bytes: queuedBytes } = await load.server.state();
  if (queued !== calls) {
    throw new Error(`${calls} calls were accepted, and ${queued} are queued`);
  }
  const starts = [load.spawn("work"), load.spawn("work")];
  await Promise.race(starts);
  const begin = performance.now();
  const children = await Promise.all(starts);
  const draining = [load.server, ...children].map(({ pid }) => new ProcessWatch(pid));
  await load.drained();
  const drainSeconds = (performance.now() - begin) / 1000;
  const [serverDraining, ...workers] = draining.map((watch) => watch.stop()) as [
    ProcessSeen,
    ...ProcessSeen[],
  ];
  const { done = calls, bytes: drainedBytes } = await load.server.state();
  if (done !== calls) {
    throw new Error(`${calls} calls were queued, and ${done} results are stored`);
  }
  return {
    queuedPerSecond: calls / seconds,
    drainedPerSecond: calls / drainSeconds,
    seen: { client, workers, serverQueueing, serverDraining, queuedBytes, drainedBytes },
  };
}

/** A row of at least one round. */
function toRow(
  name: string,
  calls: number,
  rounds: readonly Round[],
  jetrpc: readonly Round[] | undefined,
): BacklogRow {
  const median = (figure: (round: Round) => number) => quantile(rounds.map(figure), 0.5);
  const cpu = (of: (seen: RoundSeen) => readonly ProcessSeen[]) =>
    round3(median(({ seen }) => of(seen).reduce((sum, { cpuUs }) => sum + cpuUs, 0) / calls));
  const { seen } = rounds.at(-1) as Round;
  return {
    suite: "backlog",
    name,
    calls,
    rounds: rounds.length,
    queuedPerSecond: Math.round(median((round) => round.queuedPerSecond)),
    drainedPerSecond: Math.round(median((round) => round.drainedPerSecond)),
    jetrpcQueues: ratios(jetrpc, rounds, (round) => round.queuedPerSecond),
    jetrpcDrains: ratios(jetrpc, rounds, (round) => round.drainedPerSecond),
    queueCpuUs: cpu(({ client, serverQueueing }) => [client, serverQueueing]),
    drainCpuUs: cpu(({ workers, serverDraining }) => [...workers, serverDraining]),
    ...seen,
  };
}
