import type { MethodBinding, ServiceBinding } from "@jetrpc/runtime/schema";
import type { ConsumerFigures, StreamFigures } from "./figures.js";
import type { JetStreamQueries } from "./jetstream-queries.js";
import type { QueueAges } from "./queue-ages.js";
import type { Samples } from "./samples.js";
import type { Totals } from "./totals.js";
import type { MethodWorkers } from "./workers.js";

/** What is remembered from one collection to the next. */
export interface Memory {
  readonly ages: QueueAges;
  readonly totals: Totals;
}

/** Above so many messages of a stream the server is not asked how many are of each method. */
const maxCounted = 100_000;

/** Above all subjects: the server then counts them, and lists none. */
const beyondAll = 2 ** 30;

/**
 * Counts the calls of a service by method and state. It reads figures of streams and consumers
 * only, whose cost does not depend on how many calls are stored. `workers` is undefined where they
 * could not be asked.
 *
 * Errors: PermissionDenied, Unavailable, DeadlineExceeded, FailedPrecondition without
 * JetStream. What was found of other methods is told all the same.
 */
export async function collectCalls(
  jetStream: JetStreamQueries,
  binding: ServiceBinding,
  workers: ReadonlyMap<string, MethodWorkers> | undefined,
  { ages, totals }: Memory,
  samples: Samples,
): Promise<void> {
  const service = binding.desc.typeName;
  const streams = [binding.stream, binding.laterStream, binding.deadStream];
  const [queue, later, dead] = await Promise.all(
    streams.map((name) => jetStream.ask<StreamFigures>(`STREAM.INFO.${name}`)),
  );
  const durable = [...binding.methods.values()].filter(({ delivery }) => delivery === "durable");
  samples.counter(
    "jetrpc_requests_stored_total",
    "Messages that the queue has ever had: requests, repeated ones, and withdrawals",
    { service },
    totals.of(binding.stream, queue?.created, queue?.state.last_seq ?? 0),
  );
  samples.counter(
    "jetrpc_dead_letters_stored_total",
    "Messages that the store of dead letters has ever had: letters, and texts of what handlers threw",
    { service },
    totals.of(binding.deadStream, dead?.created, dead?.state.last_seq ?? 0),
  );
  const calls = (method: string, state: string, count: number) =>
    samples.gauge(
      "jetrpc_calls",
      "Calls by state; method is empty where there are too many to be counted by method",
      { service, method, state },
      count,
    );
  const collected = await Promise.allSettled(
    durable.map(async (method) => {
      const { name } = method.desc;
      const lanesFound = lanesOf(jetStream, method, queue);
      const deadAt = (rest: string) =>
        dead?.state.messages
          ? count(jetStream, binding.deadStream, `${method.deadSubject}.${rest}`)
          : 0;
      const isCounted = (info: StreamFigures | undefined) =>
        (info?.state.messages ?? 0) <= maxCounted;
      // All at once: what the server takes for one is not added to another.
      const [lanes, due, scheduled, all, causes, oldestMs] = await Promise.all([
        lanesFound,
        jetStream.ask<ConsumerFigures>(`CONSUMER.INFO.${binding.laterStream}.${method.consumer}`),
        isCounted(later) ? count(jetStream, binding.laterStream, `${method.laterSubject}.>`) : 0,
        isCounted(dead) ? deadAt(">") : 0,
        isCounted(dead) ? deadAt("$cause.>") : 0,
        lanesFound.then((each) => ages.oldestMs(jetStream, method, each, queue)),
      ]);
      const sum = (of: (lane: ConsumerFigures) => number) =>
        lanes.reduce((all, lane) => all + of(lane), 0);
      const taken = sum((lane) => lane.num_ack_pending);
      // A worker that may not be discovered pulls all the same.
      const isPulled = lanes.some((lane) => lane.num_waiting > 0);
      const told = workers?.get(name);
      const serving = told && told.described > 0 ? told.serving : Number(isPulled);
      // What a worker held that is gone waits for another one: nobody runs it.
      const isLost = told?.described === 0 && !isPulled;
      const running = told?.running ?? (isLost ? 0 : taken);
      calls(
        name,
        "queued",
        sum((lane) => lane.num_pending),
      );
      calls(name, "running", Math.min(running, taken));
      calls(name, "retrying", Math.max(0, taken - running));
      if (isCounted(later)) {
        calls(name, "scheduled", scheduled + (due?.num_pending ?? 0) + (due?.num_ack_pending ?? 0));
      }
      if (isCounted(dead)) {
        calls(name, "dead", all - causes);
      }
      const labels = { service, method: name };
      samples.counter(
        "jetrpc_deliveries_total",
        "How often calls were handed to workers, repeated attempts included",
        labels,
        lanes.reduce((all, { created, delivered }, index) => {
          const { consumer = "" } = method.queues[index] ?? {};
          return all + totals.of(`${binding.stream} ${consumer}`, created, delivered.consumer_seq);
        }, 0),
      );
      samples.gauge(
        "jetrpc_queue_paused",
        "1 when workers are given no calls of the method",
        labels,
        Number(lanes.some(({ paused }) => paused)),
      );
      samples.gauge(
        "jetrpc_queue_oldest_age_seconds",
        "How long the oldest queued call has waited, in s; where these credentials may not read it, at most so long",
        labels,
        oldestMs / 1000,
      );
      // One whose slots are all taken pulls nothing: without its answer that tells nothing of it.
      if (workers || isPulled) {
        tellServing(samples, method, serving);
      }
    }),
  );
  const failed = collected.find((each) => each.status === "rejected");
  if (failed) {
    throw failed.reason;
  }
  for (const [state, info] of [
    ["scheduled", later],
    ["dead", dead],
  ] as const) {
    if ((info?.state.messages ?? 0) > maxCounted) {
      calls("", state, info?.state.messages ?? 0);
    }
  }
}

/** Tells how many workers serve a method. */
export function tellServing(samples: Samples, method: MethodBinding, workers: number): void {
  samples.gauge(
    "jetrpc_method_workers",
    "Workers that serve the method as this schema has it; 0 when nobody does",
    {
      service: method.service.desc.typeName,
      method: method.desc.name,
      delivery: method.delivery,
    },
    workers,
  );
}

/** The queues of a method. One that no worker has made yet holds calls all the same. */
async function lanesOf(
  jetStream: JetStreamQueries,
  { service, queues }: MethodBinding,
  stream: StreamFigures | undefined,
): Promise<ConsumerFigures[]> {
  return await Promise.all(
    queues.map(async ({ subject, consumer }) => {
      const api = `CONSUMER.INFO.${service.stream}.${consumer}`;
      const { ts = "", state } = stream ?? {};
      const isCounted = state !== undefined && state.messages > 0 && state.messages <= maxCounted;
      return (
        (await jetStream.ask<ConsumerFigures>(api)) ?? {
          ts,
          num_pending: isCounted ? await count(jetStream, service.stream, `${subject}.>`) : 0,
          num_ack_pending: 0,
          num_waiting: 0,
          delivered: { consumer_seq: 0, stream_seq: 0 },
        }
      );
    }),
  );
}

/** How many subjects of a stream match, each of which holds one message. */
async function count(jetStream: JetStreamQueries, stream: string, filter: string): Promise<number> {
  const info = await jetStream.ask<StreamFigures>(`STREAM.INFO.${stream}`, {
    subjects_filter: filter,
    offset: beyondAll,
  });
  return info?.total ?? 0;
}
