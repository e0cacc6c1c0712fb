// `npm run bench`: jetrpc beside NATS, gRPC, Connect and BullMQ, side by side in one run.
import { readFileSync, writeFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { measureBacklogs } from "./backlog.js";
import { backlogWays } from "./backlogs/index.js";
import { measureBatches } from "./batches.js";
import { type CallSettings, measureCalls } from "./call-suite.js";
import { replaceTables } from "./page.js";
import { formatColumns, formatMarkdown, type Row, toTables } from "./report.js";
import { readNumber, readNumbers, runCommand, UsageError } from "./settings.js";
import { subjects } from "./subjects/index.js";
import { callSuite, type SuiteName, suiteNames } from "./suites.js";

const usage = `npm run bench -- [options]
Without options all suites are measured: 15 minutes.

What is measured
  --quick          the suites unary, durable and stream, with small messages and short
                   rounds: a minute
  --suite A,B      only these suites, of
                     unary         direct calls, after a warm-up
                     unary-cold    the first calls of processes that were just started
                     durable       durable calls, after a warm-up
                     durable-cold  the first calls of processes that were just started
                     replicas      durable calls on one server and on three that sync their disks
                     stream        one stream of small messages
                     traced        direct calls without an observer, and with telemetry()
                     gateway       unary calls over HTTP, through the gateway and without it
                     gateway-stream  the same with one stream
                     backlog       one client queues calls, then two workers drain the queue
                     batches       calls of a model, without batched() and with it
  --only A,B       only these subjects, for example "jetrpc direct,grpc-js"

How long
  --rounds N       rounds of each subject, in turns (default: 5, of payloads above 1 KB of
                   backlogs and batches 3; quick 3)
  --ms N           length of a round, in ms (default 1000, quick 200)
  --warm-up N      length of the warm-up of each subject, in ms; half as much again for
                   orders (default 6000, quick 800)
  --first N        calls of a cold round (default 1000)
  --calls A,B      calls of each backlog (default 20000)
  --items N        calls of the model in a round (default 1000)

Where the result goes, besides the terminal
  --json FILE      all figures
  --markdown FILE  the tables as Markdown
  --page FILE      replaces the tables of a page in Markdown`;

const quickSuites: readonly SuiteName[] = ["unary", "durable", "stream"];

/** Rounds of what takes long. */
const longRounds = 3;

type Settings = ReturnType<typeof readSettings>;

function readSettings(args: string[]) {
  const { values } = parseArgs({
    args,
    options: {
      help: { type: "boolean" },
      quick: { type: "boolean" },
      suite: { type: "string" },
      only: { type: "string" },
      rounds: { type: "string" },
      ms: { type: "string" },
      "warm-up": { type: "string" },
      first: { type: "string" },
      calls: { type: "string" },
      items: { type: "string" },
      json: { type: "string" },
      markdown: { type: "string" },
      page: { type: "string" },
    },
  });
  const quick = values.quick ?? false;
  const rounds = values.rounds ?? (quick ? "3" : undefined);
  const calls: CallSettings = {
    rounds: rounds === undefined ? undefined : readNumber("rounds", rounds),
    ms: readNumber("ms", values.ms ?? (quick ? "200" : "1000")),
    warmUpMs: readNumber("warm-up", values["warm-up"] ?? (quick ? "800" : "6000")),
    firstCalls: readNumber("first", values.first ?? "1000"),
  };
  return {
    ...values,
    quick,
    only: readNames("subject", values.only, [...new Set(subjects.map(({ name }) => name))]),
    suites: readNames("suite", values.suite, suiteNames) ?? (quick ? quickSuites : suiteNames),
    calls,
    backlogs: readNumbers("calls", values.calls ?? "20000"),
    items: readNumber("items", values.items ?? "1000"),
  };
}

/** Reads names with commas between. Throws a UsageError for one that is not known. */
function readNames<T extends string>(
  noun: string,
  text: string | undefined,
  known: readonly T[],
): readonly T[] | undefined {
  const names = text?.split(",") as T[] | undefined;
  const unknown = names?.find((name) => !known.includes(name));
  if (unknown !== undefined) {
    throw new UsageError(`there is no ${noun} "${unknown}": take of ${known.join(", ")}`);
  }
  return names;
}

async function measure(
  { only, suites, quick, calls, backlogs, items }: Settings,
  report: (line: string) => void,
): Promise<Row[]> {
  const isChosen = (name: string) => only === undefined || only.includes(name);
  const rows: Row[] = [];
  for (const name of suites) {
    if (name === "backlog") {
      const names = [...backlogWays.keys()].filter(isChosen);
      const rounds = calls.rounds ?? longRounds;
      rows.push(...(await measureBacklogs(names, backlogs, rounds, report)));
      continue;
    }
    if (name === "batches") {
      if (isChosen("jetrpc durable")) {
        rows.push(...(await measureBatches(items, calls.rounds ?? longRounds, report)));
      }
      continue;
    }
    const suite = callSuite(name, quick);
    const chosen = subjects.filter((each) => each.kind === suite.kind && isChosen(each.name));
    if (chosen.length > 0) {
      rows.push(...(await measureCalls(suite, chosen, calls, report)));
    }
  }
  if (rows.length === 0) {
    throw new UsageError("nothing is left to measure");
  }
  return rows;
}

function write({ json, markdown, page }: Settings, rows: readonly Row[]): void {
  const tables = toTables(rows);
  for (const { title, lines } of tables) {
    console.log(`\n${title}\n${formatColumns(lines)}`);
  }
  if (json !== undefined) {
    writeFileSync(json, `${JSON.stringify(rows, undefined, 2)}\n`);
  }
  if (markdown !== undefined) {
    const texts = tables.map(({ title, lines }) => `## ${title}\n\n${formatMarkdown(lines)}\n`);
    writeFileSync(markdown, texts.join("\n"));
  }
  if (page !== undefined) {
    const replaced = replaceTables(readFileSync(page, "utf8"), tables);
    writeFileSync(page, replaced.page);
    if (replaced.unplaced.length > 0) {
      console.error(`${page} has no place for: ${replaced.unplaced.join("; ")}`);
    }
  }
}

await runCommand(usage, async () => {
  const settings = readSettings(process.argv.slice(2));
  if (settings.help) {
    console.log(usage);
    return;
  }
  write(settings, await measure(settings, (line) => console.error(line)));
});
