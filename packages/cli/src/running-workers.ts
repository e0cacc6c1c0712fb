import type { RunningMethod, RunningWorker as SeenWorker } from "@jetrpc/console";
import type { Connection } from "@jetrpc/runtime";
import { Discovery } from "@jetrpc/runtime/schema";
import { type Answer, ask } from "./metrics/workers.js";

/** A method that a worker serves, and what it has done of it. */
export interface WorkerMethod extends RunningMethod {
  readonly kind: string;
  readonly delivery: string;
}

/** A running worker. */
export interface RunningWorker extends SeenWorker {
  readonly methods: readonly WorkerMethod[];
}

/** The workers that answer, in the order of their names. Errors: PermissionDenied, Unavailable. */
export async function findWorkers(
  connection: Connection,
  names?: readonly string[],
): Promise<RunningWorker[]> {
  const [infos, stats] = await Promise.all([ask(connection, "INFO"), ask(connection, "STATS")]);
  const byId = new Map(stats.map((each) => [each.id, each]));
  return infos
    .flatMap((info) => {
      const service = info.metadata?.[Discovery.service];
      return service !== undefined && (!names || names.includes(service))
        ? [workerOf(service, info, byId.get(info.id))]
        : [];
    })
    .sort((a, b) => compare(a.service, b.service) || compare(a.id, b.id));
}

function workerOf(service: string, info: Answer, stats: Answer | undefined): RunningWorker {
  const { id = "", version = "", metadata = {}, endpoints = [] } = info;
  return {
    service,
    id,
    version,
    status: metadata[Discovery.status] ?? "",
    ...(stats?.started !== undefined && { started: stats.started }),
    methods: endpoints.map(({ name = "", metadata: of = {} }) => {
      const its = stats?.endpoints?.find((each) => each.name === name);
      return {
        name,
        kind: of[Discovery.kind] ?? "",
        delivery: of[Discovery.delivery] ?? "",
        running: Number(its?.data?.running) || 0,
        slots: Number(its?.data?.slots) || 0,
        calls: Number(its?.num_requests) || 0,
        errors: Number(its?.num_errors) || 0,
        averageMs: (Number(its?.average_processing_time) || 0) / 1e6,
      };
    }),
  };
}

function compare(a: string, b: string): number {
  return a < b ? -1 : Number(a > b);
}
