// `npm run bench:backlog`: calls that one client queues and two workers drain, with
// the time that it takes and the memory of every process.
import { writeFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { Load } from "./load.js";
import { type ProcessSeen, ProcessWatch } from "./process-watch.js";
import { formatColumns } from "./report.js";
import { readNumbers, runCommand } from "./settings.js";

const usage = `npm run bench:backlog -- [options]
  --calls A,B      how many calls to queue, one backlog after the other
                   (default 10000,100000,1000000: a quarter of an hour)
  --json FILE      writes the rows as JSON`;

/** Bytes of a request, and of its response. */
const payloadBytes = 128;

/** A backlog, as `--json` writes it. */
interface Row {
  readonly calls: number;
  readonly queueSeconds: number;
  readonly drainSeconds: number;
  readonly client: ProcessSeen;
  readonly workers: readonly ProcessSeen[];
  readonly serverQueueing: ProcessSeen;
  readonly serverDraining: ProcessSeen;
  /** On the server's disk when all was queued, and when all was drained. */
  readonly queuedBytes: number;
  readonly drainedBytes: number;
}

async function measure(calls: number, report: (line: string) => void): Promise<Row> {
  await using load = await Load.start();
  const submitter = await load.spawn("submit");
  report(`queueing ${calls} calls`);
  const watches = [submitter, load.server].map(({ pid }) => new ProcessWatch(pid));
  const request = { unary: calls, streamed: 0, payloadBytes, sample: 0 };
  const { seconds: queueSeconds } = await load.submit(submitter, request);
  const [client, serverQueueing] = watches.map((watch) => watch.stop()) as [
    ProcessSeen,
    ProcessSeen,
  ];
  const { queued, bytes: queuedBytes } = await load.state();
  if (queued !== calls) {
    throw new Error(`${calls} calls were accepted, and ${queued} are queued`);
  }
  report(`draining ${calls} calls`);
  const starts = [load.spawn("work"), load.spawn("work")];
  await Promise.race(starts);
  const begin = performance.now();
  const workers = await Promise.all(starts);
  const draining = [load.server, ...workers].map(({ pid }) => new ProcessWatch(pid));
  await load.drained();
  const drainSeconds = (performance.now() - begin) / 1000;
  const [serverDraining, ...workersSeen] = draining.map((watch) => watch.stop()) as [
    ProcessSeen,
    ...ProcessSeen[],
  ];
  const { logged, bytes: drainedBytes } = await load.state();
  if (logged !== calls) {
    throw new Error(`${calls} calls were queued, and ${logged} entries are in their logs`);
  }
  return {
    calls,
    queueSeconds,
    drainSeconds,
    client,
    workers: workersSeen,
    serverQueueing,
    serverDraining,
    queuedBytes,
    drainedBytes,
  };
}

function format(rows: readonly Row[]): string {
  const rate = (calls: number, seconds: number) => `${Math.round(calls / seconds)}`;
  const cpu = (calls: number, seen: readonly ProcessSeen[]) =>
    `${Math.round(seen.reduce((sum, { cpuUs }) => sum + cpuUs, 0) / calls)}`;
  const megabytes = (bytes: number) => `${Math.round(bytes / 1e6)}`;
  const most = (seen: ProcessSeen) =>
    `${megabytes(seen.most)} (${seen.growth < 0 ? "" : "+"}${megabytes(seen.growth)})`;
  const lines = rows.map((row) => [
    `${row.calls} calls`,
    row.queueSeconds.toFixed(1),
    rate(row.calls, row.queueSeconds),
    cpu(row.calls, [row.client, row.serverQueueing]),
    row.drainSeconds.toFixed(1),
    rate(row.calls, row.drainSeconds),
    cpu(row.calls, [...row.workers, row.serverDraining]),
    most(row.client),
    ...row.workers.map(most),
    megabytes(row.serverQueueing.most),
    megabytes(row.serverDraining.most),
    `${Math.round((row.serverQueueing.most - row.serverQueueing.first) / row.calls)}`,
    megabytes(row.queuedBytes),
    megabytes(row.drainedBytes),
  ]);
  const head = [
    "MB: the most (growth)",
    "queue s",
    "calls/s",
    "CPU us/call",
    "drain s",
    "calls/s",
    "CPU us/call",
    "client",
    "worker 1",
    "worker 2",
    "server queueing",
    "server draining",
    "B/call",
    "queue on disk",
    "logs on disk",
  ];
  return formatColumns([head, ...lines]);
}

await runCommand(usage, async () => {
  const { values } = parseArgs({
    options: { calls: { type: "string" }, json: { type: "string" } },
  });
  const rows: Row[] = [];
  for (const calls of readNumbers("calls", values.calls ?? "10000,100000,1000000")) {
    rows.push(await measure(calls, (line) => console.error(line)));
  }
  console.log(`\n${format(rows)}`);
  if (values.json !== undefined) {
    writeFileSync(values.json, `${JSON.stringify(rows, undefined, 2)}\n`);
  }
});
