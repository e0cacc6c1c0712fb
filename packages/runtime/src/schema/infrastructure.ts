import { nanos } from "@nats-io/nats-core";
import { durableMethods, type MethodBinding, type Queue, type ServiceBinding } from "./binding.js";
import { bucketStream } from "./object-name.js";

/**
 * The settings that a stream has to have, as JetStream's API names them (times in ns); the rest is
 * left to the server and its administrators.
 */
export interface StreamSettings {
  readonly name: string;
  readonly subjects: readonly string[];
  readonly description?: string;
  readonly retention: "limits" | "workqueue";
  readonly storage: "file" | "memory";
  readonly discard?: "old" | "new";
  readonly num_replicas: number;
  readonly max_msgs?: number;
  readonly max_msgs_per_subject?: number;
  readonly max_age?: number;
  readonly duplicate_window?: number;
  readonly republish?: { readonly src: string; readonly dest: string };
  readonly allow_direct: boolean;
  readonly allow_rollup_hdrs?: boolean;
  readonly allow_atomic?: boolean;
  readonly allow_msg_ttl?: boolean;
  readonly allow_msg_schedules?: boolean;
}

/** The same of a consumer. */
export interface ConsumerSettings {
  readonly name: string;
  readonly durable_name: string;
  readonly filter_subject: string;
  readonly ack_policy: "explicit";
  readonly ack_wait: number;
  readonly max_deliver: number;
  readonly max_ack_pending: number;
}

/** A consumer that a service needs. */
export interface WantedConsumer {
  readonly stream: string;
  /** Whose calls it hands out. */
  readonly method: MethodBinding;
  readonly config: ConsumerSettings;
}

/** All that a service needs of JetStream. */
export interface Infrastructure {
  /** Empty when no method is durable. */
  readonly streams: readonly StreamSettings[];
  /** The stream of the Object Store bucket of large payloads, which direct calls have too. */
  readonly payloads: StreamSettings;
  readonly consumers: readonly WantedConsumer[];
}

/** How long JetStream remembers message ids, in ms: nobody uses them. */
const duplicateWindowMs = 1_000;

/** How long a call that is due may wait for being queued, in ms. */
const dueAckWaitMs = 5_000;

/** Tells what a service needs, as its schema says. */
export function describeInfrastructure(service: ServiceBinding): Infrastructure {
  const durable = durableMethods(service);
  const payloads = payloadStream(service);
  if (durable.length === 0) {
    return { streams: [], payloads, consumers: [] };
  }
  const due = durable.map((method) => ({
    stream: service.laterStream,
    method,
    config: dueConsumer(method),
  }));
  const queues = durable.flatMap((method) =>
    method.queues.map((queue) => ({
      stream: service.stream,
      method,
      config: queueConsumer(method, queue),
    })),
  );
  return {
    streams: describeStreams(service),
    payloads,
    consumers: [...due, ...queues],
  };
}

/** The streams of durable calls, whether or not the service has any. */
export function describeStreams(service: ServiceBinding): StreamSettings[] {
  return [queueStream, logStream, progressStream, deadStream, laterStream].map((stream) =>
    stream(service),
  );
}

/** The work queue of a service: a request leaves it when its call has ended. */
function queueStream(service: ServiceBinding): StreamSettings {
  const { prefix } = service;
  return {
    ...commonConfig(service),
    name: service.stream,
    subjects: [`${prefix}.queue.>`, `${prefix}.queue-high.>`, `${prefix}.queue-low.>`],
    retention: "workqueue",
    // An accepted call is never dropped to make room.
    discard: "new",
    max_msgs: service.maxQueueLength || -1,
    // A message that withdraws a request takes its place. No rollup does that: one of a
    // delivered message makes the consumer forget others (docs/decisions/0007).
    max_msgs_per_subject: 1,
    allow_msg_ttl: true,
    duplicate_window: nanos(duplicateWindowMs),
  };
}

/** The call logs of a service, sent on to followers as entries are accepted. */
function logStream(service: ServiceBinding): StreamSettings {
  return {
    ...commonConfig(service),
    name: service.logStream,
    subjects: [`${service.prefix}.log.>`],
    retention: "limits",
    discard: "old",
    max_age: nanos(service.resultRetentionMs),
    duplicate_window: nanos(duplicateWindowMs),
    // Clients write here when they cancel, and one rollup can empty a stream.
    allow_rollup_hdrs: false,
    allow_atomic: true,
    republish: { src: `${service.prefix}.log.>`, dest: `${service.prefix}.live.>` },
  };
}

/** The last progress of each call, sent on to followers as it comes. */
function progressStream(service: ServiceBinding): StreamSettings {
  return {
    ...commonConfig(service),
    name: service.progressStream,
    subjects: [`${service.prefix}.progress.>`],
    retention: "limits",
    discard: "old",
    max_msgs_per_subject: 1,
    max_age: nanos(service.resultRetentionMs),
    duplicate_window: nanos(duplicateWindowMs),
    republish: { src: `${service.prefix}.progress.>`, dest: `${service.prefix}.live.>` },
  };
}

/** Calls that failed for good, until somebody replays or discards them. */
function deadStream(service: ServiceBinding): StreamSettings {
  return {
    ...commonConfig(service),
    name: service.deadStream,
    subjects: [`${service.prefix}.dead.>`],
    retention: "limits",
    discard: "old",
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
    retention: "workqueue",
    max_msgs_per_subject: 1,
    allow_msg_ttl: true,
    allow_msg_schedules: true,
    duplicate_window: nanos(duplicateWindowMs),
  };
}

/** Large payloads and Blobs: an Object Store bucket, whose objects go with their calls. */
function payloadStream(service: ServiceBinding): StreamSettings {
  const { payloadBucket } = service;
  return {
    ...commonConfig(service),
    name: bucketStream(service),
    subjects: [`$O.${payloadBucket}.C.>`, `$O.${payloadBucket}.M.>`],
    description: `Large payloads of ${service.desc.typeName}`,
    retention: "limits",
    discard: "new",
    // A queued request keeps its objects however long it waits; those of a response
    // say themselves when they go.
    max_age: 0,
    allow_msg_ttl: true,
    allow_rollup_hdrs: true,
    allow_atomic: true,
  };
}

function commonConfig(
  service: ServiceBinding,
): Pick<StreamSettings, "storage" | "num_replicas" | "allow_direct"> {
  return {
    storage: service.storage,
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
    ack_policy: "explicit",
    ack_wait: nanos(method.ackWaitMs),
    // Workers count the attempts, and end the call when they are used up.
    max_deliver: -1,
    // How much runs at once is for the workers to say, unless the schema limits it.
    max_ack_pending: method.maxConcurrency || -1,
  };
}

/** Hands out the calls of a method that are due: `<prefix>.due.<queue>.<Method>.>`. */
function dueConsumer({ consumer, service, desc }: MethodBinding): ConsumerSettings {
  return {
    name: consumer,
    durable_name: consumer,
    filter_subject: `${service.prefix}.due.*.${desc.name}.>`,
    ack_policy: "explicit",
    ack_wait: nanos(dueAckWaitMs),
    max_deliver: -1,
    max_ack_pending: -1,
  };
}
