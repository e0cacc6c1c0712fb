import type { MessageInitShape } from "@bufbuild/protobuf";
import type { RunningWorker } from "./console-options.js";
import type {
  ServiceWorkersSchema,
  WorkerSchema,
} from "./gen/jetrpc/console/v1/console_service_pb.js";
import { timesOf } from "./times.js";

/** A worker as the contract has it. */
export function showWorker(worker: RunningWorker): MessageInitShape<typeof WorkerSchema> {
  const { service, id, version, started, methods } = worker;
  return {
    service,
    id,
    version,
    stopping: isStopping(worker),
    ...timesOf({ startedAt: started === undefined ? undefined : new Date(started) }),
    methods: methods.map(({ name, running, slots, calls, errors, averageMs }) => ({
      method: name,
      running,
      slots,
      calls: BigInt(Math.trunc(calls)),
      errors: BigInt(Math.trunc(errors)),
      duration: averageMs / 1000,
    })),
  };
}

/** How many workers each service has. */
export function workersByService(
  services: readonly string[],
  workers: readonly RunningWorker[],
): MessageInitShape<typeof ServiceWorkersSchema>[] {
  return services.map((service) => {
    const its = workers.filter((each) => each.service === service);
    return {
      service,
      workers: its.length,
      stopping: its.filter(isStopping).length,
      versions: [...new Set(its.map(({ version }) => version))].sort(),
    };
  });
}

function isStopping({ status }: RunningWorker): boolean {
  return status === "NOT_SERVING";
}
