import type { Connection } from "@jetrpc/runtime";
import { askWorkers } from "@jetrpc/runtime/operator";
import { Discovery, type MethodBinding, type ServiceBinding } from "@jetrpc/runtime/schema";
import type { Samples } from "./samples.js";

/** More versions of a service at once than that are told together. */
const maxVersions = 20;

/** What workers say of a method together. */
export interface MethodWorkers {
  /** That describe it, in any way. */
  readonly described: number;
  /** That serve it, and take calls. */
  readonly serving: number;
  /** Handlers that run, in workers that drain, too; undefined when no worker tells. */
  readonly running: number | undefined;
}

/** The answers of a worker to INFO and STATS of NATS micro (ADR-32). */
export interface Answer {
  readonly id?: string;
  readonly version?: string;
  readonly started?: string;
  readonly metadata?: Readonly<Record<string, string>>;
  readonly endpoints?: readonly {
    readonly name?: string;
    readonly metadata?: Readonly<Record<string, string>>;
    readonly data?: { readonly running?: number; readonly slots?: number };
    readonly num_requests?: number;
    readonly num_errors?: number;
    readonly average_processing_time?: number;
    readonly last_error?: string;
  }[];
}

/** Asks the workers of a service by NATS micro. Errors: PermissionDenied, Unavailable. */
export async function collectWorkers(
  connection: Connection,
  binding: ServiceBinding,
  samples: Samples,
): Promise<Map<string, MethodWorkers>> {
  const service = binding.desc.typeName;
  const isOne = ({ metadata }: Answer) => metadata?.[Discovery.service] === service;
  const [infos, stats] = (await Promise.all(
    (["INFO", "STATS"] as const).map(async (verb) =>
      (await ask(connection, verb, service)).filter(isOne),
    ),
  )) as [Answer[], Answer[]];
  const versions = new Set(infos.map(({ version = "" }) => version));
  const isBounded = versions.size <= maxVersions;
  const versionOf = ({ version = "" }: Answer) => (isBounded ? version : "other");
  for (const version of new Set([...infos, ...stats].map(versionOf))) {
    const count = infos.filter((info) => isServing(info) && versionOf(info) === version).length;
    samples.gauge("jetrpc_workers", "Workers that take calls", { service, version }, count);
  }
  const methods = new Map<string, MethodWorkers>();
  for (const method of binding.methods.values()) {
    methods.set(method.desc.name, tellMethod(method, infos, stats, versionOf, samples));
  }
  const known = new Set(methods.keys());
  const strangers = infos.filter(({ endpoints = [] }) =>
    endpoints.some(({ name = "" }) => !known.has(name)),
  );
  samples.gauge(
    "jetrpc_workers_of_other_schema",
    "Workers that serve a method which this schema lacks",
    { service },
    strangers.length,
  );
  return methods;
}

function tellMethod(
  method: MethodBinding,
  infos: readonly Answer[],
  stats: readonly Answer[],
  versionOf: (answer: Answer) => string,
  samples: Samples,
): MethodWorkers {
  const { name } = method.desc;
  const service = method.service.desc.typeName;
  const described = infos.flatMap((info) => {
    const endpoint = info.endpoints?.find((each) => each.name === name);
    return endpoint ? [{ info, metadata: endpoint.metadata ?? {} }] : [];
  });
  const wanted = describe(method);
  const others = described.filter(({ metadata }) =>
    Object.entries(wanted).some(([key, value]) => metadata[key] !== value),
  );
  samples.gauge(
    "jetrpc_method_schema_mismatches",
    "Workers that describe the method otherwise than this schema",
    { service, method: name },
    others.length,
  );
  const serving = described.filter(
    ({ info }) => isServing(info) && !others.some((other) => other.info === info),
  );
  const loads = new Map<string, { running: number; slots: number }>();
  for (const answer of stats) {
    const data = answer.endpoints?.find((each) => each.name === name)?.data;
    if (data) {
      const load = loads.get(versionOf(answer)) ?? { running: 0, slots: 0 };
      load.running += Number(data.running) || 0;
      load.slots += Number(data.slots) || 0;
      loads.set(versionOf(answer), load);
    }
  }
  for (const [version, { running, slots }] of loads) {
    const labels = { service, method: name, version };
    samples.gauge("jetrpc_worker_slots_taken", "Handlers that run", labels, running);
    // Direct methods of a worker share their slots, and have no limit by default.
    if (method.delivery === "durable") {
      samples.gauge("jetrpc_worker_slots_limit", "Handlers that may run at once", labels, slots);
    }
  }
  const running = [...loads.values()].reduce((sum, load) => sum + load.running, 0);
  return {
    described: described.length,
    serving: serving.length,
    running: loads.size > 0 ? running : undefined,
  };
}

function isServing({ metadata }: Answer): boolean {
  return metadata?.[Discovery.status] === "SERVING";
}

/** What the schema says of a method, as discovery has it. */
function describe({ desc, delivery }: MethodBinding): Record<string, string> {
  return {
    [Discovery.delivery]: delivery,
    [Discovery.kind]: desc.methodKind,
    [Discovery.input]: desc.input.typeName,
    [Discovery.output]: desc.output.typeName,
  };
}

/** Asks all workers, or those of a service. Errors: PermissionDenied, Unavailable. */
export async function ask(
  connection: Connection,
  verb: "INFO" | "STATS",
  typeName?: string,
): Promise<Answer[]> {
  const answers = await askWorkers(connection, verb, typeName);
  return answers.flatMap((text) => parse(text) ?? []);
}

/** Anyone may answer, in any shape. */
function parse(text: string): Answer | undefined {
  try {
    const answer: unknown = JSON.parse(text);
    const { endpoints = [], version = "" } = (answer ?? {}) as Record<string, unknown>;
    return typeof answer === "object" &&
      answer !== null &&
      typeof version === "string" &&
      Array.isArray(endpoints) &&
      endpoints.every((each) => typeof each === "object" && each !== null)
      ? (answer as Answer)
      : undefined;
  } catch {
    return undefined;
  }
}
