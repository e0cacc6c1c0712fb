import { Code, ConnectError } from "@connectrpc/connect";
import {
  AckPolicy,
  type ConsumerConfig,
  DiscardPolicy,
  JetStreamApiCodes,
  JetStreamApiError,
  type JetStreamManager,
  jetstreamManager,
  RetentionPolicy,
  StorageType,
  type StreamConfig,
} from "@nats-io/jetstream";
import { nanos } from "@nats-io/nats-core";
import type { MethodBinding, Queue, ServiceBinding } from "./binding.js";
import { callApi } from "./jetstream.js";
import type { Link } from "./link.js";
import { bucketStream } from "./object-name.js";

type StreamSettings = Partial<StreamConfig> & { name: string };
type ConsumerSettings = Partial<ConsumerConfig> & { name: string };

/** How long JetStream remembers message ids, in ms: nobody uses them. */
const duplicateWindowMs = 1_000;

/** How long a call that is due may wait for being queued, in ms. */
const dueAckWaitMs = 5_000;

/**
 * Makes the streams of a service and the consumers of its durable methods
 * where they are absent, and leaves alone what is as the schema says.
 *
 * Throws FailedPrecondition that shows the difference where they are not, or when
 * the account has no JetStream, and Unavailable when JetStream does not answer.
 */
export async function provision(
  link: Link,
  service: ServiceBinding,
  methods: Iterable<MethodBinding>,
): Promise<void> {
  try {
    // Without JetStream there is no use in trying again: this finds out.
    await callApi(link, "INFO", {});
    const manager = await jetstreamManager(link.nats, { checkAPI: false });
    await ensureStream(manager, queueStream(service));
    await ensureStream(manager, logStream(service));
    await ensureStream(manager, deadStream(service));
    await ensureStream(manager, laterStream(service));
    await ensureBucket(manager, service);
    await ensureConsumer(manager, service.laterStream, dueConsumer(service));
    for (const method of methods) {
      for (const queue of method.queues) {
        await ensureConsumer(manager, service.stream, queueConsumer(method, queue));
      }
    }
  } catch (cause) {
    throw toConnectError(`cannot set up the streams of ${service.desc.typeName}`, cause);
  }
}

function toConnectError(what: string, cause: unknown): ConnectError {
  return cause instanceof ConnectError
    ? cause
    : new ConnectError(`${what}: ${String(cause)}`, Code.Unavailable, undefined, undefined, cause);
}

/** Makes the Object Store bucket of a service. Errors: see {@link provision}. */
export async function provisionBucket(link: Link, service: ServiceBinding): Promise<void> {
  try {
    await ensureBucket(await jetstreamManager(link.nats), service);
  } catch (cause) {
    throw toConnectError(`cannot set up bucket ${service.payloadBucket}`, cause);
  }
}

async function ensureBucket(manager: JetStreamManager, service: ServiceBinding): Promise<void> {
  const wanted = payloadBucketConfig(service);
  await mendBucket(manager, wanted);
  await ensureStream(manager, wanted);
}

/** The work queue of a service: a request leaves it when its call has ended. */
function queueStream(service: ServiceBinding): StreamSettings {
  const { prefix } = service;
  return {
    ...commonConfig(service),
    name: service.stream,
    subjects: [`${prefix}.queue.>`, `${prefix}.queue-high.>`, `${prefix}.queue-low.>`],
    retention: RetentionPolicy.Workqueue,
    // What was accepted is never dropped to make room.
    discard: DiscardPolicy.New,
    max_msgs: service.maxQueueLength || -1,
    // What withdraws a request takes its place. No rollup does that: one of a
    // delivered message makes the consumer forget others (docs/decisions/0007).
    max_msgs_per_subject: 1,
    allow_msg_ttl: true,
    duplicate_window: nanos(duplicateWindowMs),
  };
}

/** Calls that failed for good, until somebody replays or discards them. */
function deadStream(service: ServiceBinding): StreamSettings {
  return {
    ...commonConfig(service),
    name: service.deadStream,
    subjects: [`${service.prefix}.dead.>`],
    retention: RetentionPolicy.Limits,
    discard: DiscardPolicy.Old,
    max_msgs_per_subject: 1,
    max_age: nanos(service.deadLetterRetentionMs),
    duplicate_window: nanos(duplicateWindowMs),
  };
}

/**
 * Calls that are to start later, and those that are due: workers move them to the
 * queue. A stream of its own, as one that never drops cannot have schedules.
 */
function laterStream(service: ServiceBinding): StreamSettings {
  return {
    ...commonConfig(service),
    name: service.laterStream,
    subjects: [`${service.prefix}.later.>`, `${service.prefix}.due.>`],
    retention: RetentionPolicy.Workqueue,
    max_msgs_per_subject: 1,
    allow_msg_ttl: true,
    allow_msg_schedules: true,
    duplicate_window: nanos(duplicateWindowMs),
  };
}

/** Name of the consumer of calls that are due. */
export const dueConsumerName = "due";

function dueConsumer(service: ServiceBinding): ConsumerSettings {
  return {
    name: dueConsumerName,
    durable_name: dueConsumerName,
    filter_subject: `${service.prefix}.due.>`,
    ack_policy: AckPolicy.Explicit,
    ack_wait: nanos(dueAckWaitMs),
    max_deliver: -1,
    max_ack_pending: -1,
  };
}

/** The call logs of a service, sent on to followers as entries are accepted. */
function logStream(service: ServiceBinding): StreamSettings {
  return {
    ...commonConfig(service),
    name: service.logStream,
    subjects: [`${service.prefix}.log.>`],
    retention: RetentionPolicy.Limits,
    discard: DiscardPolicy.Old,
    max_age: nanos(service.resultRetentionMs),
    duplicate_window: nanos(duplicateWindowMs),
    allow_rollup_hdrs: true,
    allow_atomic: true,
    republish: { src: `${service.prefix}.log.>`, dest: `${service.prefix}.live.>` },
  };
}

/** Large payloads and Blobs: an Object Store bucket, whose objects go with their calls. */
function payloadBucketConfig(service: ServiceBinding): StreamSettings {
  const { payloadBucket } = service;
  return {
    ...commonConfig(service),
    name: bucketStream(service),
    subjects: [`$O.${payloadBucket}.C.>`, `$O.${payloadBucket}.M.>`],
    retention: RetentionPolicy.Limits,
    discard: DiscardPolicy.New,
    // A queued request keeps its objects however long it waits; those of a response
    // say themselves when they go.
    max_age: 0,
    allow_msg_ttl: true,
    allow_rollup_hdrs: true,
    allow_atomic: true,
  };
}

/** A bucket that an earlier version made drops what still waits: it is changed. */
async function mendBucket(manager: JetStreamManager, wanted: StreamSettings): Promise<void> {
  const info = await unlessAbsent(
    JetStreamApiCodes.StreamNotFound,
    manager.streams.info(wanted.name),
  );
  if (info && !info.config.allow_msg_ttl) {
    const mended = { max_age: 0, allow_msg_ttl: true, allow_atomic: true };
    await manager.streams.update(wanted.name, mended);
  }
}

function commonConfig(service: ServiceBinding): Partial<StreamConfig> {
  return {
    storage: service.storage === "file" ? StorageType.File : StorageType.Memory,
    num_replicas: service.replicas,
    allow_direct: true,
  };
}

/** Hands out the queued requests of a method. */
function queueConsumer(method: MethodBinding, { subject, consumer }: Queue): ConsumerSettings {
  return {
    name: consumer,
    durable_name: consumer,
    filter_subject: `${subject}.>`,
    ack_policy: AckPolicy.Explicit,
    ack_wait: nanos(method.ackWaitMs),
    // Workers count the attempts, and end the call when they are used up.
    max_deliver: -1,
    // How much runs at once is for the workers to say, unless the schema limits it.
    max_ack_pending: method.maxConcurrency || -1,
  };
}

async function ensureStream(manager: JetStreamManager, wanted: StreamSettings): Promise<void> {
  const info = await unlessAbsent(
    JetStreamApiCodes.StreamNotFound,
    manager.streams.info(wanted.name),
  );
  if (info) {
    refuseDifference(`stream ${wanted.name}`, wanted, info.config);
    return;
  }
  await manager.streams.add(wanted);
}

async function ensureConsumer(
  manager: JetStreamManager,
  stream: string,
  wanted: ConsumerSettings,
): Promise<void> {
  const info = await unlessAbsent(
    JetStreamApiCodes.ConsumerNotFound,
    manager.consumers.info(stream, wanted.name),
  );
  if (info) {
    refuseDifference(`consumer ${wanted.name} of stream ${stream}`, wanted, info.config);
    return;
  }
  await manager.consumers.add(stream, wanted);
}

async function unlessAbsent<T>(code: number, work: Promise<T>): Promise<T | undefined> {
  try {
    return await work;
  } catch (error) {
    if (error instanceof JetStreamApiError && error.code === code) {
      return undefined;
    }
    throw error;
  }
}

function refuseDifference(what: string, wanted: object, actual: object): void {
  const there = actual as Record<string, unknown>;
  const differences = Object.entries(wanted)
    .filter(([key, value]) => !isEqual(value, there[key]))
    .map(([key, value]) => `${key} is ${show(there[key])}, the schema says ${show(value)}`);
  if (differences.length > 0) {
    throw new ConnectError(
      `${what} differs from the schema: ${differences.join("; ")}. ` +
        "Change the option in the .proto, or change or remove what is on the server.",
      Code.FailedPrecondition,
    );
  }
}

/** The server leaves out what has its zero value. */
function isEqual(wanted: unknown, actual: unknown): boolean {
  if (actual === undefined) {
    return wanted === 0 || wanted === false || wanted === "";
  }
  if (wanted instanceof Object && actual instanceof Object) {
    return Object.entries(wanted).every(([key, value]) =>
      isEqual(value, (actual as Record<string, unknown>)[key]),
    );
  }
  return wanted === actual;
}

function show(value: unknown): string {
  return value === undefined ? "not set" : JSON.stringify(value);
}
