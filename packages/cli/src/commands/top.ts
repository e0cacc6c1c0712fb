import { setTimeout } from "node:timers/promises";
import { Code, ConnectError } from "@jetrpc/runtime";
import type { CallCounts } from "@jetrpc/runtime/operator";
import { Command } from "commander";
import { askedToEnd } from "../asked-to-end.js";
import { durationOf } from "../duration.js";
import { host, isScreen } from "../host.js";
import { operatorsOf, type ServiceOperator } from "../operators.js";
import { endOf, print, printJson, tableOf } from "../output.js";
import { addSessionOptions, type SessionOptions, withSession } from "../session.js";

interface Options extends SessionOptions {
  once?: boolean;
  interval: string;
}

/** `jetrpc top`: what each durable method has queued and does, each second anew. */
export function topCommand(): Command {
  return addSessionOptions(
    new Command("top")
      .option("--once", "print it once, and end; also where stdout is no terminal")
      .option("--interval <duration>", "how often it looks", "1s"),
  ).action(top);
}

/** A durable method, and what it does. What an observer may not see is absent. */
export interface Row {
  readonly service: string;
  readonly method: string;
  readonly queued: number;
  readonly running: number;
  readonly workers: number;
  readonly paused: boolean;
  readonly scheduled?: number;
  /** Dead letters. */
  readonly dead?: number;
  /** Age of the oldest queued call, in ms; absent when none waits. */
  readonly oldestMs?: number;
  /** Calls a second that came, that ended, and that ended otherwise than by a result. */
  readonly acceptedPerSecond?: number;
  readonly endedPerSecond?: number;
  readonly failedPerSecond?: number;
}

/** Rates are of this time, or less where more happens: it looks often, and is to cost little. */
const rates = { windowMs: 60_000, maxEntries: 2_000 };

async function top(options: Options): Promise<void> {
  const intervalMs = durationOf(options.interval, "--interval");
  await withSession(options, async (connection, schema) => {
    const operators = operatorsOf(connection, schema);
    const isLive = !options.once && !options.json && isScreen(host().stdout);
    if (isLive) {
      await watch(operators, intervalMs);
      return;
    }
    const rows = await look(operators);
    if (options.json) {
      rows.forEach(printJson);
    } else {
      for (const line of tableFor(rows)) {
        print(line);
      }
    }
  });
}

async function look(operators: readonly ServiceOperator[]): Promise<Row[]> {
  const all = await Promise.all(
    operators.map(async ({ service, operator }) => {
      const [counts, queues] = await Promise.all([
        operator.countCalls(rates).catch(nothingSeen),
        operator.queues(),
      ]);
      return queues.map(({ method, queued, running, workers, pausedUntil }): Row => {
        const its = counts.find((each) => each.method === method);
        return {
          ...{ service: service.typeName, method, queued, running, workers },
          paused: pausedUntil !== undefined,
          ...(its && seenOf(its)),
        };
      });
    }),
  );
  return all.flat();
}

/** An observer that may not read sees how much waits and runs. */
function nothingSeen(error: unknown): CallCounts[] {
  if (ConnectError.from(error).code === Code.PermissionDenied) {
    return [];
  }
  throw error;
}

function seenOf({ scheduled, queued, failed: dead, recent, oldestQueuedAt }: CallCounts) {
  const perSecond = (count: number) => (count * 1000) / (recent.windowMs || 1);
  const failed = recent.failed + recent.expired;
  return {
    ...{ scheduled, queued, dead },
    ...(oldestQueuedAt && { oldestMs: Math.max(0, Date.now() - oldestQueuedAt.getTime()) }),
    acceptedPerSecond: perSecond(recent.accepted),
    endedPerSecond: perSecond(recent.succeeded + failed + recent.cancelled),
    failedPerSecond: perSecond(failed),
  };
}

const rate = (value: number | undefined) =>
  value === undefined ? "?" : value === 0 ? "0" : value.toPrecision(2);

/** The columns after the method; a narrow terminal shows those of the first ranks. */
const columns: readonly { title: string; rank: number; cell: (row: Row) => string }[] = [
  { title: "LATER", rank: 9, cell: ({ scheduled }) => `${scheduled ?? "?"}` },
  { title: "QUEUED", rank: 1, cell: ({ queued }) => `${queued}` },
  {
    title: "OLDEST",
    rank: 5,
    cell: ({ oldestMs }) => (oldestMs === undefined ? "" : showAge(oldestMs)),
  },
  { title: "RUNNING", rank: 2, cell: ({ running }) => `${running}` },
  { title: "DEAD", rank: 3, cell: ({ dead }) => `${dead ?? "?"}` },
  { title: "IN/S", rank: 8, cell: ({ acceptedPerSecond }) => rate(acceptedPerSecond) },
  { title: "OUT/S", rank: 6, cell: ({ endedPerSecond }) => rate(endedPerSecond) },
  { title: "FAIL/S", rank: 7, cell: ({ failedPerSecond }) => rate(failedPerSecond) },
  {
    title: "WORKERS",
    rank: 4,
    cell: ({ workers, paused }) =>
      `${workers > 0 ? workers : "no worker"}${paused ? ", paused" : ""}`,
  },
];

/** Of a longer name of a method a narrow terminal shows the end: the figures count, too. */
const longestName = 32;

/** Without a width all of it; else names are shortened first, then columns are left out. */
export function tableFor(rows: readonly Row[], width = Number.POSITIVE_INFINITY): string[] {
  const draw = (most: number, nameOf: (row: Row) => string) => {
    const shown = columns.filter(({ rank }) => rank <= most);
    return tableOf(
      ["METHOD", ...shown.map(({ title }) => title)],
      rows.map((row) => [nameOf(row), ...shown.map(({ cell }) => cell(row))]),
    );
  };
  const fits = (lines: readonly string[]) => lines.every((line) => line.length <= width);
  const full = draw(columns.length, ({ service, method }) => `${service}.${method}`);
  if (fits(full)) {
    return full;
  }
  for (let most = columns.length; most > 1; most--) {
    const lines = draw(most, ({ method }) => endOf(method, longestName));
    if (fits(lines)) {
      return lines;
    }
  }
  const cells = Math.max("QUEUED".length, ...rows.map(({ queued }) => `${queued}`.length));
  const names = Math.max(1, width - cells - 2);
  return draw(1, ({ method }) => endOf(method, names)).map((line) => line.slice(0, width));
}

/** `43s`, `7m`, `3h`, `2d`. */
function showAge(ms: number): string {
  const seconds = Math.floor(ms / 1000);
  if (seconds < 120) {
    return `${seconds}s`;
  }
  const minutes = Math.floor(seconds / 60);
  return minutes < 120
    ? `${minutes}m`
    : minutes < 48 * 60
      ? `${Math.floor(minutes / 60)}h`
      : `${Math.floor(minutes / 1440)}d`;
}

/** Draws it until q is pressed, on a screen of its own. */
async function watch(operators: readonly ServiceOperator[], intervalMs: number): Promise<void> {
  const { stdin, stdout } = host();
  const asked = askedToEnd();
  const quit = new AbortController();
  const end = AbortSignal.any([asked, quit.signal]);
  const ended = new Promise<undefined>((resolve) => {
    end.addEventListener("abort", () => resolve(undefined), { once: true });
  });
  const onKey = (key: Buffer) => {
    // q, Ctrl-C, Escape.
    if (["q", "\u0003", "\u001b"].includes(key.toString())) {
      quit.abort();
    }
  };
  stdin.setRawMode?.(true);
  stdin.on("data", onKey);
  stdout.write("\x1b[?1049h\x1b[?25l");
  try {
    let rows: Row[] = [];
    while (!end.aborted) {
      // A server that does not answer ends nothing, and keeps nobody here.
      const seen = await Promise.race([look(operators).catch(silence), ended]);
      rows = seen ?? rows;
      // A line that fills its row would lose its last character to what erases the rest.
      const columns = (stdout.columns || 80) - 1;
      const height = stdout.rows || 24;
      const time = new Date().toISOString().slice(11, 19);
      const lines = [
        `jetrpc top  ${time}  ${seen ? "q ends it" : "NATS does not answer; q ends it"}`.slice(
          0,
          columns,
        ),
        "",
        ...tableFor(rows, columns),
      ];
      stdout.write(
        `\x1b[H${firstOf(lines, height, columns)
          .map((line) => `${line}\x1b[K`)
          .join("\r\n")}\x1b[J`,
      );
      await pause(intervalMs, end);
    }
  } finally {
    stdout.write("\x1b[?25h\x1b[?1049l");
    stdin.off("data", onKey);
    stdin.setRawMode?.(false);
    stdin.pause();
  }
}

/** The lines that a screen has room for; the last one tells how many more there are. */
export function firstOf(lines: readonly string[], height: number, width: number): string[] {
  const more = lines.length - height;
  return more <= 0
    ? [...lines]
    : [...lines.slice(0, height - 1), `${more + 1} more, for a taller terminal`.slice(0, width)];
}

/** Nothing is seen where the server does not answer. */
function silence(error: unknown): undefined {
  if (ConnectError.from(error).code !== Code.Unavailable) {
    throw error;
  }
}

async function pause(ms: number, end: AbortSignal): Promise<void> {
  await setTimeout(ms, undefined, { signal: end }).catch(() => undefined);
}
