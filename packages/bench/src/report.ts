import type { SuiteName } from "./subject.js";
import type { Round } from "./subject-processes.js";

/** A line of the result, as `--json` writes it. */
export interface Row {
  readonly suite: SuiteName;
  readonly name: string;
  readonly payloadBytes: number;
  readonly inFlight: number;
  readonly callsPerSecond: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  /** CPU time of a call, in us. */
  readonly clientCpuUs: number;
  readonly workerCpuUs: number;
  /** Memory of the processes after the last round, in bytes. */
  readonly clientRss: number;
  readonly workerRss: number;
}

/** The medians of all rounds, each figure by itself. */
export function toRow(
  key: Pick<Row, "suite" | "name" | "payloadBytes" | "inFlight">,
  rounds: readonly Round[],
): Row {
  const median = (figure: (round: Round) => number) => quantile(rounds.map(figure), 0.5);
  return {
    ...key,
    callsPerSecond: Math.round(median((round) => round.callsPerSecond)),
    p50Ms: round3(median((round) => round.p50Ms)),
    p99Ms: round3(median((round) => round.p99Ms)),
    clientCpuUs: round3(median((round) => round.clientCpuUs)),
    workerCpuUs: round3(median((round) => round.workerCpuUs)),
    clientRss: rounds.at(-1)?.clientRss ?? 0,
    workerRss: rounds.at(-1)?.workerRss ?? 0,
  };
}

/** The figure that so great a part of all figures does not exceed. */
export function quantile(figures: readonly number[], part: number): number {
  const sorted = [...figures].sort((a, b) => a - b);
  return sorted[Math.floor(part * (sorted.length - 1))] ?? 0;
}

function round3(value: number): number {
  return Math.round(value * 1000) / 1000;
}

/** The rows that others are compared with. */
const references = ["jetrpc direct", "jetrpc durable"];

/** A table for each load, with how many times as fast jetrpc is. */
export function formatTables(rows: readonly Row[]): string {
  const loads = new Map<string, Row[]>();
  for (const row of rows) {
    const unit = row.suite === "stream" ? "messages" : "calls";
    const title = `${row.suite}, ${row.payloadBytes} B, ${row.inFlight} in flight (${unit}/s)`;
    loads.set(title, [...(loads.get(title) ?? []), row]);
  }
  return [...loads].map(([title, load]) => `${title}\n${formatTable(load)}`).join("\n\n");
}

function formatTable(rows: readonly Row[]): string {
  const base = rows.find(({ name }) => references.includes(name));
  const cells = rows.map((row) => [
    row.name,
    `${row.callsPerSecond}`,
    base ? `${(base.callsPerSecond / row.callsPerSecond).toFixed(2)}x` : "",
    row.p50Ms.toFixed(2),
    row.p99Ms.toFixed(2),
    row.clientCpuUs.toFixed(1),
    row.workerCpuUs.toFixed(1),
    `${Math.round(row.clientRss / 1e6)}`,
    `${Math.round(row.workerRss / 1e6)}`,
  ]);
  const head = [
    "",
    "per second",
    "jetrpc is",
    "p50 ms",
    "p99 ms",
    "client us",
    "worker us",
    "client MB",
    "worker MB",
  ];
  return formatColumns([head, ...cells]);
}

/** Lines whose first column is a name, and the others figures. */
export function formatColumns(lines: readonly (readonly string[])[]): string {
  const width = (column: number) => Math.max(...lines.map((line) => (line[column] ?? "").length));
  const format = (line: readonly string[]) =>
    line
      .map((cell, column) =>
        column === 0 ? cell.padEnd(width(column)) : cell.padStart(width(column)),
      )
      .join("  ");
  return lines.map(format).join("\n");
}
