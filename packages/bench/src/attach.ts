// `npm run bench:attach`: how long it takes to come back to a finished call, by how
// many of them are in the log.
import { writeFileSync } from "node:fs";
import { parseArgs } from "node:util";
import type { AttachReply, ByKind, SubmitReply } from "./attach-process.js";
import type { Child } from "./child.js";
import { quantile, round3 } from "./figures.js";
import { Load, type LoadFailure, unlessFailed } from "./load.js";
import { formatColumns } from "./report.js";
import { readNumber, readNumbers, runCommand } from "./settings.js";

const usage = `npm run bench:attach -- [options]
  --calls A,B      how many finished calls are in the log (default 100,100000: two minutes)
  --rounds N       rounds for each, alternating (default 20)
  --json FILE      writes the rows as JSON`;

/** Attaches of one round, of each kind of call. */
const attachesOfRound = 50;

/** Ids to choose from, of each kind of call. */
const sample = 5_000;

const payloadBytes = 128;

/** How long an attach takes until the last message is there, in ms, as `--json` writes it. */
interface Row {
  readonly calls: number;
  readonly kind: keyof ByKind<unknown>;
  readonly attaches: number;
  readonly p50Ms: number;
  readonly p90Ms: number;
}

/** A server with so many finished calls, and a process that attaches to them. */
class Finished {
  constructor(
    readonly calls: number,
    private readonly callIds: ByKind<string[]>,
    private readonly attacher: Child,
  ) {}

  static async make(load: Load, calls: number): Promise<Finished> {
    const worker = await load.spawn("work");
    const submitter = await load.spawn("submit", "attach-process.js");
    const unary = Math.ceil(calls / 2);
    const request = { unary, streamed: calls - unary, payloadBytes, sample };
    const { callIds } = await load.submit<SubmitReply>(submitter, request);
    await load.drained();
    await Promise.all([worker.stop(), submitter.stop()]);
    return new Finished(calls, callIds, await load.spawn("attach", "attach-process.js"));
  }

  async attach(): Promise<AttachReply> {
    const pick = (ids: string[]) =>
      Array.from(
        { length: attachesOfRound },
        () => ids[Math.floor(Math.random() * ids.length)] as string,
      );
    const { unary, streamed } = this.callIds;
    const request = { unary: pick(unary), streamed: pick(streamed) };
    return unlessFailed((await this.attacher.ask(request)) as AttachReply | LoadFailure);
  }
}

async function measure(
  counts: readonly number[],
  rounds: number,
  report: (line: string) => void,
): Promise<Row[]> {
  const loads: Load[] = [];
  try {
    const all: Finished[] = [];
    for (const calls of counts) {
      report(`finishing ${calls} calls`);
      const load = await Load.start();
      loads.push(load);
      all.push(await Finished.make(load, calls));
    }
    for (const each of all) {
      // Code that V8 has not optimised yet tells nothing.
      await each.attach();
      await each.attach();
    }
    report(`attaching, ${rounds} rounds of ${attachesOfRound} calls of each kind`);
    const times = all.map(() => ({ unary: [] as number[], streamed: [] as number[] }));
    for (let round = 0; round < rounds; round++) {
      for (const [index, each] of all.entries()) {
        const { unary, streamed } = await each.attach();
        times[index]?.unary.push(...unary);
        times[index]?.streamed.push(...streamed);
      }
    }
    return (["unary", "streamed"] as const).flatMap((kind) =>
      all.map(({ calls }, index) => toRow(calls, kind, times[index]?.[kind] ?? [])),
    );
  } finally {
    await Promise.all(loads.map((load) => load[Symbol.asyncDispose]()));
  }
}

function toRow(calls: number, kind: Row["kind"], times: readonly number[]): Row {
  return {
    calls,
    kind,
    attaches: times.length,
    p50Ms: round3(quantile(times, 0.5)),
    p90Ms: round3(quantile(times, 0.9)),
  };
}

function format(rows: readonly Row[]): string {
  const lines = rows.map((row) => {
    const base = rows.find(({ kind }) => kind === row.kind);
    return [
      `${row.kind}, ${row.calls} finished calls`,
      row.p50Ms.toFixed(2),
      row.p90Ms.toFixed(2),
      base ? (row.p50Ms / base.p50Ms).toFixed(2) : "",
    ];
  });
  return formatColumns([["attach to", "p50 ms", "p90 ms", "ratio of p50"], ...lines]);
}

await runCommand(usage, async () => {
  const { values } = parseArgs({
    options: { calls: { type: "string" }, rounds: { type: "string" }, json: { type: "string" } },
  });
  const rows = await measure(
    readNumbers("calls", values.calls ?? "100,100000"),
    readNumber("rounds", values.rounds ?? "20"),
    (line) => console.error(line),
  );
  console.log(`\n${format(rows)}`);
  if (values.json !== undefined) {
    writeFileSync(values.json, `${JSON.stringify(rows, undefined, 2)}\n`);
  }
});
