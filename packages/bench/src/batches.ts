import type { CallReply, CallRequest, ModelSeen, WorkRequest } from "./batch-process.js";
import { quantile, ratios, round3, type Spread } from "./figures.js";
import { Load, type LoadFailure, unlessFailed } from "./load.js";

/** A way to serve a model, as `--json` writes it. */
export interface BatchRow {
  readonly suite: "batches";
  readonly name: string;
  /** Calls that the worker runs at once. */
  readonly concurrency: number;
  /** Calls that are submitted at once. */
  readonly items: number;
  readonly rounds: number;
  /** The medians of all rounds, each figure by itself. */
  readonly callsPerSecond: number;
  readonly itemsOfRun: number;
  /** The part of the time in which the model ran, 0 to 1. */
  readonly busy: number;
  /** How many times as fast as a run for each call, round by round. */
  readonly toAlone: Spread | undefined;
}

const alone: WorkRequest = { concurrency: 64, maxSize: undefined };

/** The same model, without batches and with them. */
const ways: readonly WorkRequest[] = [
  alone,
  { concurrency: 10, maxSize: 32 },
  { concurrency: 32, maxSize: 32 },
  { concurrency: 64, maxSize: 32 },
  { concurrency: 128, maxSize: 64 },
];

interface Round extends ModelSeen {
  readonly callsPerSecond: number;
}

/** Sends calls to a model whose run costs 10 ms, and each item of it 1 ms; the ways in turns. */
export async function measureBatches(
  items: number,
  roundCount: number,
  report: (line: string) => void,
): Promise<BatchRow[]> {
  await using load = await Load.start();
  const client = await load.spawn("call", "batch-process.js");
  const rounds = new Map<WorkRequest, Round[]>(ways.map((way) => [way, []]));
  for (let round = 0; round < roundCount; round++) {
    report(`batches, round ${round + 1} of ${roundCount}`);
    for (const [way, measured] of rounds) {
      const worker = await load.spawn("work", "batch-process.js");
      unlessFailed((await worker.ask(way)) as object | LoadFailure);
      const request: CallRequest = { items };
      const { seconds } = await load.submit<CallReply>(client, request);
      // Or the next worker gets calls whose acknowledgement was on its way.
      await load.drained();
      const seen = (await worker.ask("seen")) as ModelSeen;
      await worker.stop();
      measured.push({ ...seen, callsPerSecond: items / seconds });
    }
  }
  return [...rounds].map(([way, measured]) => toRow(way, items, measured, rounds.get(alone)));
}

/** A row of at least one round. */
function toRow(
  { concurrency, maxSize }: WorkRequest,
  items: number,
  rounds: readonly Round[],
  reference: readonly Round[] | undefined,
): BatchRow {
  const median = (figure: (round: Round) => number) => round3(quantile(rounds.map(figure), 0.5));
  const slowness = ({ callsPerSecond }: Round) => 1 / callsPerSecond;
  return {
    suite: "batches",
    name: maxSize ? `batched(), maxSize ${maxSize}` : "a run for each call",
    concurrency,
    items,
    rounds: rounds.length,
    callsPerSecond: median(({ callsPerSecond }) => callsPerSecond),
    itemsOfRun: median(({ runs }) => items / runs),
    busy: median(({ seconds, callsPerSecond }) => (seconds * callsPerSecond) / items),
    toAlone: ratios(reference, rounds, slowness),
  };
}
