import { createRegistry, type DescService } from "@bufbuild/protobuf";
import { Code, ConnectError, type Connection } from "@jetrpc/runtime";
import { bindService, typesOf } from "@jetrpc/runtime/schema";
import { findWorkers, type RunningWorker } from "../running-workers.js";
import { describedSchema, type Schema } from "../schema.js";
import { imageOf } from "./buf-breaking.js";
import type { Verdict } from "./verdict.js";

/**
 * NATS picks who answers: so often is each worker asked on average, that none is left out but by a
 * chance of 1 in 3,000; and so often all together, at most, and at once.
 */
const timesEach = 8;
const mostTimes = 256;
const atOnce = 8;

/** What the running workers of a service say of its schema. */
export interface Described {
  readonly service: string;
  readonly workers: readonly RunningWorker[];
  /** Each once: workers of two versions may have two. Empty when no worker runs. */
  readonly schemas: readonly DescService[];
}

/** Asks all running workers of a service for its schema. Errors: PermissionDenied, Unavailable. */
export async function askAll(connection: Connection, service: string): Promise<Described> {
  const workers = await findWorkers(connection, [service]);
  const schemas = new Map<string, DescService>();
  // A busy worker may be missing in the list, and answer here.
  let left = workers.length > 1 ? Math.min(mostTimes, timesEach * workers.length) : 1;
  const ask = async () => {
    while (left-- > 0) {
      for (const desc of await describe(connection, service)) {
        schemas.set(Buffer.from(imageOf([desc])).toString("base64"), desc);
      }
    }
  };
  await Promise.all(Array.from({ length: Math.min(atOnce, left) }, ask));
  return { service, workers, schemas: [...schemas.values()] };
}

async function describe(connection: Connection, service: string): Promise<readonly DescService[]> {
  try {
    return (await describedSchema(connection, [service])).services;
  } catch (cause) {
    if (ConnectError.from(cause).code !== Code.Unavailable) {
      throw cause;
    }
    return [];
  }
}

/**
 * The schemas to compare with, one after the other: in the first one is a schema of each service
 * that runs, in the next ones those of services whose workers have several.
 */
export function roundsOf(all: readonly Described[]): Schema[] {
  const most = Math.max(0, ...all.map(({ schemas }) => schemas.length));
  return Array.from({ length: most }, (_, round) => {
    const services = all.flatMap(({ schemas }) => schemas[round] ?? []);
    return { services, registry: createRegistry(...services.map(typesOf)) };
  });
}

/** Workers that serve a method as none of the described schemas has it: theirs was not seen. */
export function unseenSchemas({ service, workers, schemas }: Described): Verdict[] {
  const known = schemas.map((schema) => [...bindService(schema).methods.values()]);
  const isKnown = ({ methods }: RunningWorker) =>
    known.some((bindings) =>
      methods.every(({ name, kind, delivery }) =>
        bindings.some(
          ({ desc, delivery: its }) =>
            desc.name === name && desc.methodKind === kind && its === delivery,
        ),
      ),
    );
  return workers
    .filter((worker) => !isKnown(worker))
    .map(({ id, version }) => ({
      level: "warning",
      rule: "schema-unseen",
      service,
      message: `worker ${id} of version ${version} has methods that no described schema has, and did not describe its own: compare with its image by --against FILE, too`,
    }));
}
