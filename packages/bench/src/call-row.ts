import { quantile, ratios, round3, type Spread } from "./figures.js";
import type { Round } from "./subject-processes.js";
import type { CallLoad } from "./suites.js";

/** The calls of a subject under a load, as `--json` writes them. */
export interface CallRow extends CallLoad {
  readonly name: string;
  readonly rounds: number;
  /** The medians of all rounds, each figure by itself. */
  readonly callsPerSecond: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  /** How many times as fast jetrpc was, round by round. */
  readonly jetrpcIs: Spread | undefined;
  /** CPU time of a call, in us: of all rounds together. */
  readonly clientCpuUs: number;
  readonly workerCpuUs: number;
  /** Of the servers between client and worker. Undefined where there is no /proc. */
  readonly serverCpuUs: number | undefined;
  readonly cpuUs: number | undefined;
  /** Memory of the processes after the last round, in bytes. */
  readonly clientRss: number;
  readonly workerRss: number;
}

/** A row of at least one round. `reference` are the rounds of jetrpc, in the same turns. */
export function toRow(
  key: CallLoad & { readonly name: string },
  rounds: readonly Round[],
  reference: readonly Round[] | undefined,
): CallRow {
  const median = (figure: (round: Round) => number) => quantile(rounds.map(figure), 0.5);
  const calls = sum(rounds, (round) => round.calls);
  const cpu = (figure: (round: Round) => number) => round3(sum(rounds, figure) / calls);
  const clientCpuUs = cpu((round) => round.clientCpuUs);
  const workerCpuUs = cpu((round) => round.workerCpuUs);
  const hasServerCpu = rounds.every(({ serverCpuUs }) => serverCpuUs !== undefined);
  const serverCpuUs = hasServerCpu ? cpu((round) => round.serverCpuUs ?? 0) : undefined;
  return {
    ...key,
    rounds: rounds.length,
    callsPerSecond: Math.round(median((round) => round.callsPerSecond)),
    p50Ms: round3(median((round) => round.p50Ms)),
    p99Ms: round3(median((round) => round.p99Ms)),
    jetrpcIs: ratios(reference, rounds, (round) => round.callsPerSecond),
    clientCpuUs,
    workerCpuUs,
    serverCpuUs,
    cpuUs: serverCpuUs === undefined ? undefined : round3(clientCpuUs + workerCpuUs + serverCpuUs),
    clientRss: rounds.at(-1)?.clientRss ?? 0,
    workerRss: rounds.at(-1)?.workerRss ?? 0,
  };
}

function sum<T>(items: readonly T[], figure: (item: T) => number): number {
  return items.reduce((total, item) => total + figure(item), 0);
}
