import type { BacklogRow } from "./backlog.js";
import type { BatchRow } from "./batches.js";
import type { CallRow } from "./call-row.js";
import type { Spread } from "./figures.js";
import type { ProcessSeen } from "./process-watch.js";
import { isStream } from "./subject.js";

/** A line of the result. */
export type Row = CallRow | BacklogRow | BatchRow;

/** A table: the first line is the head, and the first column has the names. */
export interface Table {
  /** One of a report. */
  readonly title: string;
  readonly lines: readonly (readonly string[])[];
}

/** All tables of a result. */
export function toTables(rows: readonly Row[]): Table[] {
  const calls = rows.filter((row) => row.suite !== "backlog" && row.suite !== "batches");
  const backlogs = rows.filter((row) => row.suite === "backlog");
  const batches = rows.filter((row) => row.suite === "batches");
  return [
    ...groups(calls, titleOf).map(([title, load]) => ({ title, lines: callLines(load) })),
    ...byPayload(calls, "calls/s", ({ callsPerSecond }) => count(callsPerSecond)),
    ...byPayload(calls, "jetrpc to this", ({ jetrpcIs }) => times(jetrpcIs)),
    ...alone(calls, "unary"),
    ...alone(calls, "durable"),
    ...(backlogs.length === 0
      ? []
      : [
          { title: "backlog", lines: backlogLines(backlogs) },
          { title: "backlog, memory", lines: memoryLines(backlogs) },
        ]),
    ...(batches.length === 0 ? [] : [{ title: "batches", lines: batchLines(batches) }]),
  ];
}

function titleOf({ suite, message, payloadBytes, inFlight }: CallRow): string {
  const size = message === "order" ? "an order" : bytes(payloadBytes);
  return `${suite}, ${size}, ${inFlight} in flight`;
}

function bytes(size: number): string {
  return size < 1024 ? `${size} B` : `${size / 1024} KB`;
}

function groups<T>(items: readonly T[], key: (item: T) => string): [string, T[]][] {
  const all = new Map<string, T[]>();
  for (const item of items) {
    const of = key(item);
    all.set(of, [...(all.get(of) ?? []), item]);
  }
  return [...all];
}

function callLines(rows: readonly CallRow[]): string[][] {
  const areStreams = isStream(rows[0]?.suite ?? "");
  return [
    [
      "",
      areStreams ? "messages/s" : "calls/s",
      "jetrpc to this",
      ...(areStreams ? [] : ["p50 ms", "p99 ms"]),
      "client CPU us",
      "worker CPU us",
      "server CPU us",
      "all CPU us",
    ],
    ...rows.map((row) => [
      row.name,
      count(row.callsPerSecond),
      times(row.jetrpcIs),
      ...(areStreams ? [] : [row.p50Ms.toFixed(2), row.p99Ms.toFixed(1)]),
      row.clientCpuUs.toFixed(1),
      row.workerCpuUs.toFixed(1),
      row.serverCpuUs?.toFixed(1) ?? "",
      row.cpuUs?.toFixed(1) ?? "",
    ]),
  ];
}

/** Unary calls: a line for each load, a column for each subject. */
function byPayload(
  rows: readonly CallRow[],
  title: string,
  cell: (row: CallRow) => string,
): Table[] {
  const calls = rows.filter(({ suite, message }) => suite === "unary" && message === "bytes");
  const names = namesOf(calls);
  const lines = groups(calls, ({ payloadBytes, inFlight }) => `${payloadBytes} ${inFlight}`).map(
    ([, load]) => [
      bytes(load[0]?.payloadBytes ?? 0),
      `${load[0]?.inFlight}`,
      ...names.map((name) => cellOf(load, (row) => row.name === name, cell)),
    ],
  );
  const head = ["payload", "in flight", ...names];
  return calls.length === 0
    ? []
    : [{ title: `unary, ${title} by payload`, lines: [head, ...lines] }];
}

/** How long a call takes when it is the only one: warm, and in a new process. */
function alone(rows: readonly CallRow[], suite: "unary" | "durable"): Table[] {
  const calls = rows.filter((row) => row.inFlight === 1 && row.payloadBytes < 1024);
  const warm = calls.filter((row) => row.suite === suite);
  const cold = calls.filter((row) => row.suite === `${suite}-cold`);
  const p50 = (of: readonly CallRow[], name: string, message: CallRow["message"]) =>
    cellOf(
      of,
      (row) => row.name === name && row.message === message,
      ({ p50Ms }) => p50Ms.toFixed(2),
    );
  const lines = namesOf([...warm, ...cold]).map((name) => [
    name,
    p50(warm, name, "bytes"),
    p50(warm, name, "order"),
    p50(cold, name, "bytes"),
  ]);
  const head = ["p50 ms", "128 B", "an order", "128 B, new process"];
  return lines.length === 0 ? [] : [{ title: `${suite}, alone`, lines: [head, ...lines] }];
}

function namesOf(rows: readonly CallRow[]): string[] {
  return [...new Set(rows.map(({ name }) => name))];
}

function cellOf(
  rows: readonly CallRow[],
  is: (row: CallRow) => boolean,
  cell: (row: CallRow) => string,
): string {
  const row = rows.find(is);
  return row ? cell(row) : "";
}

function backlogLines(rows: readonly BacklogRow[]): string[][] {
  return [
    [
      "",
      "calls",
      "queued, calls/s",
      "jetrpc to this",
      "CPU us/call",
      "drained, calls/s",
      "jetrpc to this",
      "CPU us/call",
    ],
    ...rows.map((row) => [
      row.name,
      count(row.calls),
      count(row.queuedPerSecond),
      times(row.jetrpcQueues),
      row.queueCpuUs.toFixed(1),
      count(row.drainedPerSecond),
      times(row.jetrpcDrains),
      row.drainCpuUs.toFixed(1),
    ]),
  ];
}

function batchLines(rows: readonly BatchRow[]): string[][] {
  return [
    [
      "",
      "concurrency",
      "calls/s",
      "to a run for each",
      "items of a run",
      "model runs, % of the time",
    ],
    ...rows.map((row) => [
      row.name,
      count(row.concurrency),
      count(row.callsPerSecond),
      times(row.toAlone),
      row.itemsOfRun.toFixed(1),
      count(100 * row.busy),
    ]),
  ];
}

function memoryLines(rows: readonly BacklogRow[]): string[][] {
  const most = (seen: ProcessSeen) =>
    `${megabytes(seen.most)} (${seen.growth < 0 ? "" : "+"}${megabytes(seen.growth)})`;
  return [
    [
      "MB",
      "calls",
      "client",
      "worker 1",
      "worker 2",
      "server, queueing",
      "server, draining",
      "queue on disk",
      "all on disk, drained",
    ],
    ...rows.map((row) => [
      row.name,
      count(row.calls),
      most(row.client),
      ...row.workers.map(most),
      megabytes(row.serverQueueing.most),
      megabytes(row.serverDraining.most),
      row.queuedBytes === undefined ? "" : megabytes(row.queuedBytes),
      row.drainedBytes === undefined ? "" : megabytes(row.drainedBytes),
    ]),
  ];
}

function megabytes(size: number): string {
  return `${Math.round(size / 1e6)}`;
}

function count(value: number): string {
  return Math.round(value).toLocaleString("en-US");
}

function times(ratio: Spread | undefined): string {
  if (!ratio) {
    return "";
  }
  const { median, lowest, highest } = ratio;
  const [middle, from, to] = [median, lowest, highest].map((value) => value.toFixed(2));
  return from === to ? `${middle}` : `${middle} (${from} to ${to})`;
}

/** Lines for a terminal: the first column is a name, and the others are figures. */
export function formatColumns(lines: readonly (readonly string[])[]): string {
  return align(lines)
    .map((line) => line.join("  "))
    .join("\n");
}

/** The same as a table of Markdown. */
export function formatMarkdown([head = [], ...lines]: readonly (readonly string[])[]): string {
  const rule = head.map((_, column) => (column === 0 ? "---" : "---:"));
  return [head, rule, ...lines].map((line) => `| ${line.join(" | ")} |`).join("\n");
}

function align(lines: readonly (readonly string[])[]): string[][] {
  const width = (column: number) => Math.max(...lines.map((line) => (line[column] ?? "").length));
  return lines.map((line) =>
    line.map((cell, column) =>
      column === 0 ? cell.padEnd(width(column)) : cell.padStart(width(column)),
    ),
  );
}
