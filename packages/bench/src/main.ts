// `npm run bench`: jetrpc beside NATS, gRPC and Connect, side by side in one run.
import { writeFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { startNats } from "@jetrpc/testing";
import { formatTables, type Row, toRow } from "./report.js";
import { readNumber, runCommand, UsageError } from "./settings.js";
import type { Subject, SuiteName } from "./subject.js";
import { type Round, RoundFailed, SubjectProcesses } from "./subject-processes.js";
import { subjects } from "./subjects/index.js";

const usage = `npm run bench -- [options]
  --quick          128 B only, short rounds: under 50 s
  --json FILE      writes the rows as JSON
  --only A,B       only these names, for example "jetrpc direct,grpc-js"
  --suite A        only this suite: unary, durable or stream
  --rounds N       rounds of each subject, alternating (default 5)
  --ms N           length of a round, in ms (default 1000, quick 200)
  --warm-up N      length of the first run of each subject, which is not counted,
                   in ms (default 2000, quick 800)`;

interface Settings {
  readonly quick: boolean;
  readonly json: string | undefined;
  readonly rounds: number;
  readonly ms: number;
  readonly warmUpMs: number;
  readonly subjects: readonly Subject[];
}

function readSettings(args: string[]): Settings {
  const values = parse(args);
  const quick = values.quick ?? false;
  const only = values.only?.split(",");
  const chosen = subjects.filter(
    ({ name, suite }) =>
      (!only || only.includes(name)) && (!values.suite || values.suite === suite),
  );
  const unknown = only?.find((name) => !subjects.some((subject) => subject.name === name));
  if (unknown !== undefined || chosen.length === 0) {
    const names = [...new Set(subjects.map(({ name }) => name))].join(", ");
    throw new UsageError(
      unknown === undefined
        ? "nothing is left to measure"
        : `there is no subject "${unknown}": take of ${names}`,
    );
  }
  return {
    quick,
    json: values.json,
    rounds: readNumber("rounds", values.rounds ?? "5"),
    ms: readNumber("ms", values.ms ?? (quick ? "200" : "1000")),
    warmUpMs: readNumber("warm-up", values["warm-up"] ?? (quick ? "800" : "2000")),
    subjects: chosen,
  };
}

function parse(args: string[]) {
  return parseArgs({
    args,
    options: {
      quick: { type: "boolean" },
      json: { type: "string" },
      only: { type: "string" },
      suite: { type: "string" },
      rounds: { type: "string" },
      ms: { type: "string" },
      "warm-up": { type: "string" },
    },
  }).values;
}

interface Load {
  readonly suite: SuiteName;
  readonly payloadBytes: number;
  readonly inFlight: number;
}

function loads(quick: boolean): Load[] {
  const sizes = quick ? [128] : [128, 4096, 65_536, 524_288];
  return [
    ...sizes.flatMap((payloadBytes) =>
      [1, 64].map((inFlight): Load => ({ suite: "unary", payloadBytes, inFlight })),
    ),
    { suite: "durable", payloadBytes: 128, inFlight: 1 },
    { suite: "durable", payloadBytes: 128, inFlight: 64 },
    { suite: "stream", payloadBytes: 20, inFlight: 1 },
  ];
}

async function measure(settings: Settings, report: (line: string) => void): Promise<Row[]> {
  await using server = await startNats();
  const started: SubjectProcesses[] = [];
  const rows: Row[] = [];
  try {
    report(`starting ${settings.subjects.length} subjects`);
    const starts = await Promise.allSettled(
      settings.subjects.map((subject) => SubjectProcesses.start(subject, server.url)),
    );
    for (const start of starts) {
      if (start.status === "fulfilled") {
        started.push(start.value);
      } else {
        report(`left out, because it does not start: ${start.reason}`);
      }
    }
    for (const each of started) {
      // Code that V8 has not optimised yet tells nothing.
      const inFlight = each.subject.suite === "stream" ? 1 : 64;
      await each.run({ payloadBytes: 128, inFlight, ms: settings.warmUpMs });
    }
    for (const load of loads(settings.quick)) {
      const running = started.filter(({ subject }) => subject.suite === load.suite);
      if (running.length === 0) {
        continue;
      }
      report(`${load.suite}, ${load.payloadBytes} B, ${load.inFlight} in flight`);
      const rounds = new Map<SubjectProcesses, Round[]>();
      for (const each of running) {
        rounds.set(each, []);
      }
      // Subjects alternate, so that a noisy moment hits all of them alike.
      for (let round = 0; round < settings.rounds; round++) {
        for (const each of rounds.keys()) {
          try {
            rounds.get(each)?.push(await each.run({ ...load, ms: settings.ms }));
          } catch (error) {
            if (!(error instanceof RoundFailed)) {
              throw error;
            }
            report(`left out, because calls failed: ${error.message}`);
            rounds.delete(each);
          }
        }
      }
      for (const [{ subject }, measured] of rounds) {
        rows.push(toRow({ ...load, name: subject.name }, measured));
      }
    }
  } finally {
    await Promise.all(started.map((each) => each.stop()));
  }
  return rows;
}

await runCommand(usage, async () => {
  const settings = readSettings(process.argv.slice(2));
  const rows = await measure(settings, (line) => console.error(line));
  console.log(`\n${formatTables(rows)}`);
  if (settings.json !== undefined) {
    writeFileSync(settings.json, `${JSON.stringify(rows, undefined, 2)}\n`);
  }
});
