/**
 * Names of attributes and metrics. Those without `jetrpc.` are of OpenTelemetry's semantic
 * conventions 1.45.0, of which those of RPC are stable and those of messaging in development; a
 * test compares them with `@opentelemetry/semantic-conventions`. Copied, as applications are
 * advised to do with what is in development: the package changes its names in minor versions.
 */
export const conventionsVersion = "1.45.0";

export const Attr = {
  rpcSystem: "rpc.system.name",
  rpcMethod: "rpc.method",
  rpcStatusCode: "rpc.status_code",
  errorType: "error.type",
  serverAddress: "server.address",
  serverPort: "server.port",
  messagingSystem: "messaging.system.name",
  /** The name until 1.44.0, by which backends know spans of queues. */
  messagingSystemBefore: "messaging.system",
  operationName: "messaging.operation.name",
  operationType: "messaging.operation.type",
  destination: "messaging.destination.name",
  messageId: "messaging.message.id",
} as const;

/** Our own. */
export const Own = {
  /** Number of an attempt, from 1. */
  attempt: "jetrpc.attempt",
  /** How an attempt has ended. */
  attemptOutcome: "jetrpc.attempt.outcome",
  /** How many calls a batch has. */
  batchCalls: "jetrpc.batch.calls",
  /** Of a link: `submit`; `attempt`, the attempt before; `call`, of a batch to one of its calls; `batch`, of a call to its batch. */
  link: "jetrpc.link",
  /** Of an event: `sent` or `received`. */
  messageDirection: "jetrpc.message.direction",
  /** Of an event: the number of the message in its direction, from 1. */
  messageNumber: "jetrpc.message.number",
  /** Of a metric: how a call has ended. */
  outcome: "outcome",
  /** Of a metric: of slots `used` or `free`, of calls in a queue `queued` or `running`. */
  state: "state",
} as const;

export const Metric = {
  rpcClientDuration: "rpc.client.call.duration",
  rpcServerDuration: "rpc.server.call.duration",
  operationDuration: "messaging.client.operation.duration",
  processDuration: "messaging.process.duration",
  callDuration: "jetrpc.call.duration",
  queueDuration: "jetrpc.call.queue.duration",
  callsEnded: "jetrpc.calls.ended",
  workerSlots: "jetrpc.worker.slots",
  queueCalls: "jetrpc.queue.calls",
  reconnects: "jetrpc.connection.reconnects",
} as const;

/** Value of `rpc.system.name`. */
export const rpcSystem = "jetrpc";

/** Buckets of the conventions, in s. */
export const buckets = [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10];

/** Buckets of what may take a day, in s. */
export const longBuckets = [
  0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1_800, 3_600,
  7_200, 21_600, 86_400,
];
