import { Command } from "commander";
import { tellAbsentStreams } from "../absent-streams.js";
import { operatorsOf } from "../operators.js";
import { printJson, printTable } from "../output.js";
import { addSessionOptions, type SessionOptions, withSession } from "../session.js";

/** `jetrpc queues`: how much waits and runs, and who is there to do it. */
export function queuesCommand(): Command {
  return addSessionOptions(new Command("queues")).action(queues);
}

async function queues(options: SessionOptions): Promise<void> {
  await withSession(options, async (connection, schema) => {
    const rows: string[][] = [];
    for (const { service, operator } of operatorsOf(connection, schema)) {
      const infos = await operator.queues();
      if (infos.every(({ queued, running }) => queued + running === 0)) {
        await tellAbsentStreams(connection, [{ service }], options.json);
      }
      for (const info of infos) {
        if (options.json) {
          printJson({ service: service.typeName, ...info });
        } else {
          const { method, queued, running, workers, pausedUntil } = info;
          rows.push([
            `${service.typeName}.${method}`,
            `${queued}`,
            `${running}`,
            workers > 0 ? `${workers}` : "no worker",
            pausedUntil ? showPause(pausedUntil) : "",
          ]);
        }
      }
    }
    if (!options.json) {
      printTable(["METHOD", "QUEUED", "RUNNING", "WORKERS", "PAUSED"], rows);
    }
  });
}

/** A pause without an end lasts for centuries. */
function showPause(until: Date): string {
  const isForEver = until.getFullYear() >= 2200;
  return isForEver ? "until resumed" : `until ${until.toISOString()}`;
}
