import { Command } from "commander";
import { groupBy } from "../group-by.js";
import { print, printJson, printTable } from "../output.js";
import { findWorkers, type RunningWorker, type WorkerMethod } from "../running-workers.js";
import { addServerOptions, collect, type ServerOptions, withConnection } from "../session.js";

interface Options extends ServerOptions {
  service?: string[];
  workers?: boolean;
}

/** `jetrpc services`: what runs, as workers say by discovery. It needs no schema. */
export function servicesCommand(): Command {
  return addServerOptions(
    new Command("services")
      .option("--service <name>", "full name of a service; repeatable (default: all)", collect)
      .option("--workers", "a line for each worker, instead of each method"),
  ).action(services);
}

async function services(options: Options): Promise<void> {
  await withConnection(options, async (connection) => {
    const found = await findWorkers(connection, options.service);
    const byService = groupBy(found, ({ service }) => service);
    if (options.json) {
      for (const [service, workers] of byService) {
        printJson({ service, workers: workers.map(({ service: _, ...rest }) => rest) });
      }
    } else if (found.length === 0) {
      print("no worker answers");
    } else if (options.workers) {
      printWorkers(found);
    } else {
      printMethods(byService);
    }
  });
}

function printMethods(byService: ReadonlyMap<string, readonly RunningWorker[]>): void {
  const rows: string[][] = [];
  for (const [service, workers] of byService) {
    const all = workers.flatMap(({ version, methods }) =>
      methods.map((method) => ({ version, ...method })),
    );
    for (const [name, these] of groupBy(all, (each) => each.name)) {
      const sum = (of: (each: WorkerMethod) => number) =>
        these.reduce((total, each) => total + of(each), 0);
      const calls = sum((each) => each.calls);
      const average = sum((each) => each.averageMs * each.calls) / (calls || 1);
      const [first] = these;
      rows.push([
        `${service}.${name}`,
        first?.kind ?? "",
        first?.delivery ?? "",
        `${these.length}`,
        [...new Set(these.map(({ version }) => version))].sort().join(","),
        load(
          sum((each) => each.running),
          these.every(({ slots }) => slots > 0) ? sum((each) => each.slots) : 0,
        ),
        `${calls}`,
        `${sum((each) => each.errors)}`,
        `${Math.round(average)} ms`,
      ]);
    }
  }
  printTable(
    ["METHOD", "KIND", "DELIVERY", "WORKERS", "VERSIONS", "RUNNING", "CALLS", "ERRORS", "AVERAGE"],
    rows,
  );
}

function printWorkers(workers: readonly RunningWorker[]): void {
  printTable(
    ["SERVICE", "WORKER", "VERSION", "STATUS", "STARTED", "METHODS", "RUNNING"],
    workers.map(({ service, id, version, status, started = "", methods }) => [
      service,
      id,
      version,
      status,
      started,
      `${methods.length}`,
      load(
        methods.reduce((sum, { running }) => sum + running, 0),
        0,
      ),
    ]),
  );
}

/** `3/8`, or `3` without a limit. */
function load(running: number, slots: number): string {
  return slots > 0 ? `${running}/${slots}` : `${running}`;
}
