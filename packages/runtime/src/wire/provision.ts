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
import type { MethodBinding, ServiceBinding } from "./binding.js";
import type { Link } from "./link.js";

/** How long JetStream remembers message ids, in ms. The call log remembers longer. */
const duplicateWindowMs = 120_000;

/**
 * Makes the streams of a service and the consumers of its durable methods
 * where they are absent, and leaves alone what is as the schema says.
 *
 * Throws FailedPrecondition that shows the difference where they are not, and
 * Unavailable when JetStream does not answer.
 */
export async function provision(
  link: Link,
  service: ServiceBinding,
  methods: Iterable<MethodBinding>,
): Promise<void> {
  try {
    const manager = await jetstreamManager(link.nats);
    await ensureStream(manager, queueStream(service));
    await ensureStream(manager, logStream(service));
    for (const method of methods) {
      await ensureConsumer(manager, service.stream, methodConsumer(method));
    }
  } catch (cause) {
    if (cause instanceof ConnectError) {
      throw cause;
    }
    throw new ConnectError(
      `cannot set up the streams of ${service.desc.typeName}: ${String(cause)}`,
      Code.Unavailable,
      undefined,
      undefined,
      cause,
    );
  }
}

/** The work queue of a service: a request leaves it when its call has ended. */
function queueStream(service: ServiceBinding): Partial<StreamConfig> & { name: string } {
  return {
    ...commonConfig(service),
    name: service.stream,
    subjects: [`${service.prefix}.queue.>`],
    retention: RetentionPolicy.Workqueue,
    // What was accepted is never dropped to make room.
    discard: DiscardPolicy.New,
    max_age: nanos(service.maxQueueAgeMs),
    duplicate_window: nanos(
      service.maxQueueAgeMs > 0
        ? Math.min(duplicateWindowMs, service.maxQueueAgeMs)
        : duplicateWindowMs,
    ),
  };
}

/** The call logs of a service, sent on to followers as entries are accepted. */
function logStream(service: ServiceBinding): Partial<StreamConfig> & { name: string } {
  return {
    ...commonConfig(service),
    name: service.logStream,
    subjects: [`${service.prefix}.log.>`],
    retention: RetentionPolicy.Limits,
    discard: DiscardPolicy.Old,
    max_age: nanos(service.resultRetentionMs),
    duplicate_window: nanos(Math.min(duplicateWindowMs, service.resultRetentionMs)),
    allow_rollup_hdrs: true,
    allow_atomic: true,
    republish: { src: `${service.prefix}.log.>`, dest: `${service.prefix}.live.>` },
  };
}

function commonConfig(service: ServiceBinding): Partial<StreamConfig> {
  return {
    storage: service.storage === "file" ? StorageType.File : StorageType.Memory,
    num_replicas: service.replicas,
    allow_direct: true,
  };
}

/** Hands out the queued requests of a method. */
function methodConsumer(method: MethodBinding): Partial<ConsumerConfig> & { name: string } {
  return {
    name: method.consumer,
    durable_name: method.consumer,
    filter_subject: `${method.queueSubject}.>`,
    ack_policy: AckPolicy.Explicit,
    ack_wait: nanos(method.ackWaitMs),
    // Workers count the attempts, and end the call when they are used up.
    max_deliver: -1,
    // How much runs at once is for the workers to say.
    max_ack_pending: -1,
  };
}

async function ensureStream(
  manager: JetStreamManager,
  wanted: Partial<StreamConfig> & { name: string },
): Promise<void> {
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
  wanted: Partial<ConsumerConfig> & { name: string },
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
