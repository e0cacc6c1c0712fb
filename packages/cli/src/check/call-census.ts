import type { DescMethod, Registry } from "@bufbuild/protobuf";
import type { Connection } from "@jetrpc/runtime";
import { type MessageInStream, storedMessages } from "@jetrpc/runtime/operator";
import type { ServiceBinding } from "@jetrpc/runtime/schema";
import { lossOf, type Reader } from "./meaning.js";
import type { Verdict } from "./verdict.js";

/** What is stored of the calls of a method. */
export class MethodCensus {
  /** Calls in the queue: they wait or run. When each was stored, in ms since 1970. */
  readonly queued: number[] = [];
  /** Of those, how many have a priority other than normal. */
  prioritized = 0;
  scheduled = 0;
  /** Dead letters, and when each was stored. */
  readonly dead: number[] = [];
  /** Ends of calls whose results are kept, and when each was stored. */
  readonly ended: number[] = [];
  /** Requests and responses that are too large for a message: they are not decoded. */
  large = 0;

  get unfinished(): number {
    return this.queued.length + this.scheduled;
  }
}

/** All that is stored of the calls of a service, and what the new schema makes of it. */
export interface CallCensus {
  readonly methods: ReadonlyMap<string, MethodCensus>;
  readonly losses: readonly Verdict[];
}

/** The schemas that calls were made with, and will be read with. */
export interface Schemas {
  readonly before:
    | { readonly methods: readonly DescMethod[]; readonly registry: Registry }
    | undefined;
  readonly after: { readonly methods: readonly DescMethod[]; readonly registry: Registry };
}

const kinds = {
  queued: "request",
  scheduled: "request",
  dead: "request",
  result: "result",
} as const;

type Place = keyof typeof kinds;

/**
 * Reads every request that is queued, scheduled or dead and every result that is kept, where the
 * server has them now, and decodes each with the new schema.
 *
 * Errors: PermissionDenied, Unavailable.
 */
export async function takeCensus(
  connection: Connection,
  { prefix, stream, laterStream, deadStream, logStream, desc }: ServiceBinding,
  schemas: Schemas,
  onLooked: (count: number) => void,
): Promise<CallCensus> {
  const methods = new Map<string, MethodCensus>();
  const losses = new Map<string, Verdict & { calls: number }>();
  let count = 0;
  const look = async (place: Place, name: string) => {
    for await (const message of storedMessages(connection, name, `${prefix}.>`)) {
      onLooked(++count);
      const call = callOf(message, prefix);
      if (!call) {
        continue;
      }
      let census = methods.get(call.method);
      if (!census) {
        census = new MethodCensus();
        methods.set(call.method, census);
      }
      if (!note(census, place, call.kind, message)) {
        continue;
      }
      if (message.headers?.get("Jetrpc-Payload")) {
        census.large++;
        continue;
      }
      const loss = lossFor(place, call.method, message, schemas);
      if (loss !== undefined) {
        const key = `${call.method} ${place} ${loss}`;
        const known = losses.get(key);
        losses.set(key, {
          level: place === "result" ? "warning" : "error",
          rule: `${kinds[place]}-changes`,
          service: desc.typeName,
          method: call.method,
          example: known?.example ?? call.id,
          calls: (known?.calls ?? 0) + 1,
          message: `${place === "result" ? "kept results" : `${place} requests`}: ${loss}`,
          ...(loss.startsWith("cannot") && { level: "error" }),
        });
      }
    }
  };
  await look("queued", stream);
  await look("scheduled", laterStream);
  await look("dead", deadStream);
  await look("result", logStream);
  return { methods, losses: [...losses.values()] };
}

/** `<prefix>.queue.Split._._.invoice-42`, and `<prefix>.due.queue.Split…` of a call that is due. */
function callOf(
  { subject }: MessageInStream,
  prefix: string,
): { kind: string; method: string; id: string } | undefined {
  const all = subject.slice(prefix.length + 1).split(".");
  const [kind = "", method, owner, ...rest] = all[0] === "due" ? all.slice(1) : all;
  if (method === undefined || owner === undefined || owner.startsWith("$")) {
    return undefined;
  }
  const id = rest.filter((token) => token !== "_" && token !== "entry").join(".");
  return { kind, method, id };
}

/** Counts a message; false when it is neither a request nor a result. */
function note(census: MethodCensus, place: Place, kind: string, message: MessageInStream): boolean {
  if (place === "result") {
    const entry = message.headers?.get("Jetrpc-Entry") ?? "";
    if (/^end \d+ /.test(entry)) {
      census.ended.push(message.storedAtMs);
    }
    return /^message |^end \d+ succeeded/.test(entry);
  }
  if (message.headers?.get("Jetrpc-Withdrawn")) {
    return false;
  }
  if (place === "queued") {
    census.queued.push(message.storedAtMs);
    census.prioritized += Number(kind !== "queue");
  } else if (place === "scheduled") {
    census.scheduled++;
  } else {
    census.dead.push(message.storedAtMs);
  }
  return true;
}

function lossFor(
  place: Place,
  method: string,
  message: MessageInStream,
  { before, after }: Schemas,
): string | undefined {
  const reader = (of: Schemas["before"]): Reader | undefined => {
    const desc = of?.methods.find(({ name }) => name === method);
    const schema = place === "result" ? desc?.output : desc?.input;
    return of && schema && { schema, registry: of.registry };
  };
  const now = reader(after);
  // A method that vanishes has a verdict of its own.
  return (
    now &&
    lossOf(
      { bytes: message.data, isJson: /json/.test(message.headers?.get("Content-Type") ?? "") },
      reader(before),
      now,
    )
  );
}
