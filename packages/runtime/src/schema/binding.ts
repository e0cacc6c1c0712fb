import { type DescMethod, type DescService, getOption } from "@bufbuild/protobuf";
import { type Duration, durationMs } from "@bufbuild/protobuf/wkt";
import { Code, ConnectError } from "@connectrpc/connect";
import {
  method as methodOption,
  Resume,
  Storage,
  service as serviceOption,
} from "../gen/jetrpc/v1/options_pb.js";
import { codeNamed } from "./code-name.js";
import { methodDelivery } from "./delivery.js";

/**
 * Where a service lies on NATS: what its descriptor and its
 * `(jetrpc.v1.service)` option say, with every default filled in.
 */
export interface ServiceBinding {
  readonly desc: DescService;
  /** First tokens of every subject of the service. */
  readonly prefix: string;
  /** Where workers give their descriptors: `<prefix>.describe`. */
  readonly describeSubject: string;
  /** Where callers say what they have read: `<prefix>.ack`, then worker, caller and bytes. */
  readonly ackSubject: string;
  /** Work-queue stream of its durable calls. */
  readonly stream: string;
  /** Stream of their call logs. */
  readonly logStream: string;
  /** Stream of the last progress of each call. */
  readonly progressStream: string;
  /** Object Store bucket of payloads above the server's max_payload. */
  readonly payloadBucket: string;
  readonly replicas: number;
  readonly storage: "file" | "memory";
  /** How long a call's log is kept, in ms. */
  readonly resultRetentionMs: number;
  /** Stream of the calls that failed for good. */
  readonly deadStream: string;
  /** Stream of the calls that are to start later. */
  readonly laterStream: string;
  /** How long a dead letter is kept, in ms. */
  readonly deadLetterRetentionMs: number;
  /** How long the oldest call may have waited when a new one comes, in ms; 0 for no limit. */
  readonly maxQueueAgeMs: number;
  /** How many calls may be unfinished; 0 for no limit. */
  readonly maxQueueLength: number;
  /** By the local name of the method. */
  readonly methods: ReadonlyMap<string, MethodBinding>;
}

/**
 * How a method is delivered: what its descriptor and its `(jetrpc.v1.method)`
 * option say, with every default filled in.
 */
export interface MethodBinding {
  readonly desc: DescMethod;
  readonly service: ServiceBinding;
  readonly delivery: "direct" | "durable";
  /** Subject of direct requests: `<prefix>.rpc.<Method>`. */
  readonly directSubject: string;
  /** Where a direct request waits when all workers are busy: `<prefix>.wait.<Method>`. */
  readonly waitSubject: string;
  /** Where workers of a durable method refuse what is sent to them directly: `<prefix>.durable.<Method>`. */
  readonly durableSubject: string;
  /** Frames of direct streams to workers: `<prefix>.stream.<Method>`, then worker and stream. */
  readonly streamSubject: string;
  /** Where callers of direct methods say that they have left: `<prefix>.cancel.<Method>`. */
  readonly cancelSubject: string;
  /** Queued requests of normal priority: `<prefix>.queue.<Method>`, then owner and call id. */
  readonly queueSubject: string;
  /** Name of the JetStream consumer that hands them out. */
  readonly consumer: string;
  /** Queues of the method: one, or one for each priority, the highest first. */
  readonly queues: readonly Queue[];
  /** Call logs: `<prefix>.log.<Method>`, then owner and call id. */
  readonly logSubject: string;
  /** Last progress of calls: `<prefix>.progress.<Method>`, then owner and call id. */
  readonly progressSubject: string;
  /** Entries of log and progress as they are accepted: `<prefix>.live.<Method>`, then owner and call id. */
  readonly liveSubject: string;
  /** Calls that failed for good: `<prefix>.dead.<Method>`, then owner and call id. */
  readonly deadSubject: string;
  /** Calls that are to start later: `<prefix>.later.<Method>`, then owner and call id. */
  readonly laterSubject: string;
  /** How long a call may take whose caller says nothing, or an attempt, in ms; 0 for no limit. */
  readonly timeoutMs: number;
  readonly maxAttempts: number;
  /** Wait before attempt 2, 3, ..., in ms; the last value serves all further ones. */
  readonly backoffMs: readonly number[];
  /** Calls at once in one worker process; 0 for the worker's own limit. */
  readonly concurrency: number;
  /** Silence after which the server gives the call to another worker, in ms. */
  readonly ackWaitMs: number;
  readonly resume: "replay" | "handler";
  /** Calls at once in all workers together; 0 for no limit. */
  readonly maxConcurrency: number;
  /** Codes after which a further attempt may help. */
  readonly retryCodes: ReadonlySet<Code>;
  /** True when callers may name a priority. */
  readonly priorities: boolean;
}

/** How soon a call has its turn. */
export type Priority = "high" | "normal" | "low";

/** Queued requests of one priority. */
export interface Queue {
  readonly priority: Priority;
  /**
   * `<prefix>.queue.<Method>`, `<prefix>.queue-high.<Method>` or
   * `<prefix>.queue-low.<Method>`, then owner and call id.
   */
  readonly subject: string;
  /** The JetStream consumer that hands them out. */
  readonly consumer: string;
}

const bindings = new WeakMap<DescService, ServiceBinding>();

/**
 * Tells where a service and its methods lie on NATS. Its options are taken as they are: the
 * generator has checked them, and so have workers and operators, by `bindService()`. Throws
 * InvalidArgument for what is no service.
 */
export function bindingOf(desc: DescService): ServiceBinding {
  let binding = bindings.get(desc);
  if (!binding) {
    if ((desc as DescService | undefined)?.kind !== "service") {
      throw new ConnectError(
        "this is no service: give what a generated package exports by its name, such as PdfService",
        Code.InvalidArgument,
      );
    }
    binding = createBinding(desc);
    bindings.set(desc, binding);
  }
  return binding;
}

/** Tells how a method is delivered. Its options are taken as they are. */
export function bindMethod(desc: DescMethod): MethodBinding {
  // bindingOf() puts every method of the service into the map.
  return bindingOf(desc.parent).methods.get(desc.localName) as MethodBinding;
}

/** The durable methods of a service. */
export function durableMethods({ methods }: ServiceBinding): MethodBinding[] {
  return [...methods.values()].filter(({ delivery }) => delivery === "durable");
}

/** The method of a name as a .proto and subjects have it; undefined when the schema lacks it. */
export function methodNamed(service: ServiceBinding, name: string): MethodBinding | undefined {
  return [...service.methods.values()].find(({ desc }) => desc.name === name);
}

function createBinding(desc: DescService): ServiceBinding {
  const options = getOption(desc, serviceOption);
  const stream = options.stream || desc.typeName.replaceAll(".", "_");
  const methods = new Map<string, MethodBinding>();
  const prefix = options.subjectPrefix || desc.typeName;
  const service: ServiceBinding = {
    desc,
    prefix,
    describeSubject: `${prefix}.describe`,
    ackSubject: `${prefix}.ack`,
    stream,
    logStream: `${stream}_LOG`,
    progressStream: `${stream}_PROGRESS`,
    payloadBucket: `${stream}_PAYLOAD`,
    replicas: options.replicas || 1,
    storage: options.storage === Storage.MEMORY ? "memory" : "file",
    resultRetentionMs: milliseconds(options.resultRetention) ?? 7 * 24 * 3_600_000,
    deadStream: `${stream}_DEAD`,
    laterStream: `${stream}_LATER`,
    deadLetterRetentionMs: milliseconds(options.deadLetterRetention) ?? 30 * 24 * 3_600_000,
    maxQueueAgeMs: milliseconds(options.maxQueueAge) ?? 0,
    maxQueueLength: Number(options.maxQueueLength),
    methods,
  };
  for (const method of desc.methods) {
    methods.set(method.localName, createMethodBinding(method, service));
  }
  return service;
}

function createMethodBinding(desc: DescMethod, service: ServiceBinding): MethodBinding {
  const options = getOption(desc, methodOption);
  const delivery = methodDelivery(desc, options);
  const maxAttempts = options.maxAttempts || 5;
  const subject = (kind: string) => `${service.prefix}.${kind}.${desc.name}`;
  return {
    desc,
    service,
    delivery,
    directSubject: subject("rpc"),
    waitSubject: subject("wait"),
    durableSubject: subject("durable"),
    streamSubject: subject("stream"),
    cancelSubject: subject("cancel"),
    queueSubject: subject("queue"),
    consumer: desc.name,
    queues: (options.priorities ? priorities : (["normal"] as const)).map((priority) => ({
      priority,
      subject: subject(priority === "normal" ? "queue" : `queue-${priority}`),
      consumer: priority === "normal" ? desc.name : `${desc.name}-${priority}`,
    })),
    logSubject: subject("log"),
    progressSubject: subject("progress"),
    liveSubject: subject("live"),
    deadSubject: subject("dead"),
    laterSubject: subject("later"),
    timeoutMs: milliseconds(options.timeout) ?? defaultTimeoutMs(desc, delivery),
    maxAttempts,
    backoffMs: options.backoff.length
      ? options.backoff.map((d) => durationMs(d))
      : defaultBackoffMs(maxAttempts),
    concurrency: options.concurrency,
    ackWaitMs: milliseconds(options.ackWait) ?? 15_000,
    resume: options.resume === Resume.HANDLER ? "handler" : "replay",
    maxConcurrency: options.maxConcurrency,
    retryCodes: options.retryCodes.length
      ? new Set(options.retryCodes.map((name) => codeNamed(name) as Code))
      : defaultRetryCodes,
    priorities: options.priorities,
  };
}

const priorities: readonly Priority[] = ["high", "normal", "low"];

const defaultRetryCodes: ReadonlySet<Code> = new Set([
  Code.Unavailable,
  Code.ResourceExhausted,
  Code.Aborted,
  Code.DeadlineExceeded,
  Code.Internal,
  Code.Unknown,
]);

function defaultTimeoutMs(desc: DescMethod, delivery: "direct" | "durable"): number {
  if (delivery === "durable") {
    return 600_000;
  }
  return desc.methodKind === "unary" ? 30_000 : 0;
}

function defaultBackoffMs(maxAttempts: number): number[] {
  const waits = Math.min(maxAttempts - 1, 7);
  return Array.from({ length: waits }, (_, i) => Math.min(1000 * 2 ** i, 60_000));
}

function milliseconds(duration: Duration | undefined): number | undefined {
  return duration && durationMs(duration);
}
