import { Code, ConnectError } from "@connectrpc/connect";
import { callApi, getNext } from "../link/jetstream.js";
import { consumerInfo } from "../link/jetstream-admin.js";
import type { Link } from "../link/link.js";
import type { MethodBinding, ServiceBinding } from "../schema/binding.js";
import { StoredRequest } from "./stored-request.js";

/** How much of a method's work is where. */
export interface QueueCounts {
  /** Calls that no worker has yet. */
  readonly queued: number;
  /** Calls that a worker has, or that wait for their next attempt. */
  readonly running: number;
  /** True when some worker pulls. */
  readonly isPulled: boolean;
  readonly pausedUntil: Date | undefined;
}

/** The fields of JetStream's CONSUMER.INFO that are used here. */
interface ConsumerInfo {
  readonly num_pending: number;
  readonly num_ack_pending: number;
  readonly num_waiting: number;
  readonly paused?: boolean;
  readonly config: { readonly pause_until?: string };
}

/** Reads how much of a method waits and runs, by all priorities together. */
export async function countCalls(link: Link, method: MethodBinding): Promise<QueueCounts> {
  const { stream } = method.service;
  const lanes = await Promise.all(
    method.queues.map(({ consumer }) =>
      callApi<ConsumerInfo>(link, `CONSUMER.INFO.${stream}.${consumer}`, {}),
    ),
  );
  const until = lanes.find((lane) => lane?.paused)?.config.pause_until;
  return {
    queued: lanes.reduce((sum, lane) => sum + (lane?.num_pending ?? 0), 0),
    running: lanes.reduce((sum, lane) => sum + (lane?.num_ack_pending ?? 0), 0),
    isPulled: lanes.some((lane) => lane !== undefined && lane.num_waiting > 0),
    pausedUntil: until ? new Date(until) : undefined,
  };
}

/** When the oldest request that no worker has was queued, in ms since 1970; undefined when none waits. */
export async function oldestQueued(
  link: Link,
  { service, queues }: MethodBinding,
): Promise<number | undefined> {
  const oldest = await Promise.all(
    queues.map(async ({ subject, consumer }) => {
      const info = await consumerInfo(link, service.stream, consumer);
      const from = (info?.delivered.stream_seq ?? 0) + 1;
      return (await getNext(link, service.stream, `${subject}.>`, from))?.storedAtMs;
    }),
  );
  return oldest.reduce((one, other) => (one && other ? Math.min(one, other) : (one ?? other)));
}

/** Pauses a method until a time, or ends its pause. Throws NotFound where it has no consumer. */
export async function pauseMethod(
  link: Link,
  method: MethodBinding,
  until: Date | undefined,
): Promise<void> {
  const { stream } = method.service;
  const pause = until ? { pause_until: until.toISOString() } : {};
  for (const { consumer } of method.queues) {
    if (!(await callApi(link, `CONSUMER.PAUSE.${stream}.${consumer}`, pause))) {
      throw new ConnectError(
        `consumer ${consumer} of stream ${stream} does not exist: start a worker, or run \`jetrpc apply\`, first`,
        Code.NotFound,
      );
    }
  }
}

/** Reads the first request in a stream of a service, queued, for later or due, from a sequence on. */
export async function nextOf(
  link: Link,
  { prefix }: ServiceBinding,
  stream: string,
  from: number,
): Promise<StoredRequest | undefined> {
  return StoredRequest.of(await getNext(link, stream, `${prefix}.>`, from));
}
