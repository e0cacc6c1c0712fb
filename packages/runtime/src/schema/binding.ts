import {
  type DescMethod,
  type DescService,
  getOption,
  hasOption,
  type MessageShape,
} from "@bufbuild/protobuf";
import { type Duration, durationMs, MethodOptions_IdempotencyLevel } from "@bufbuild/protobuf/wkt";
import { Code, ConnectError } from "@connectrpc/connect";
import {
  Delivery,
  type MethodOptionsSchema,
  method as methodOption,
  Resume,
  type ServiceOptionsSchema,
  Storage,
  service as serviceOption,
} from "../gen/jetrpc/v1/options_pb.js";
import { holdsBlobs } from "./blob-fields.js";

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
  /** What log and progress accept, as it happens: `<prefix>.live.<Method>`, then owner and call id. */
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

/** An option that contradicts another one or the descriptor, or cannot be. */
export interface OptionProblem {
  /** The service or the method whose option it is. */
  readonly desc: DescService | DescMethod;
  /** Field of `jetrpc.v1.ServiceOptions` or `jetrpc.v1.MethodOptions`. */
  readonly field: string;
  /** What is wrong, and how to mend it. */
  readonly message: string;
}

const bindings = new WeakMap<DescService, ServiceBinding>();

/**
 * Tells where a service and its methods lie on NATS.
 *
 * Throws a ConnectError with Code.InvalidArgument when an option is
 * contradictory or impossible. The generator refuses such a .proto already.
 */
export function bindService(desc: DescService): ServiceBinding {
  let binding = bindings.get(desc);
  if (!binding) {
    const problem = checkService(desc)[0];
    if (problem) {
      throw new ConnectError(
        `${problem.desc.toString()}: ${problem.message}`,
        Code.InvalidArgument,
      );
    }
    binding = createBinding(desc);
    bindings.set(desc, binding);
  }
  return binding;
}

/** Tells how a method is delivered. Errors: see {@link bindService}. */
export function bindMethod(desc: DescMethod): MethodBinding {
  // bindService() puts every method of the service into the map.
  return bindService(desc.parent).methods.get(desc.localName) as MethodBinding;
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
  const delivery = deliveryOf(desc, options);
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
      ? new Set(options.retryCodes.map((name) => codeOf(name) as Code))
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

/** The code of a name as Connect spells it: `resource_exhausted`. */
function codeOf(name: string): Code | undefined {
  const key = name.replace(/(?:^|_)([a-z])/g, (_, letter: string) => letter.toUpperCase());
  return /^[a-z_]+$/.test(name) ? (Code as unknown as Record<string, Code>)[key] : undefined;
}

function deliveryOf(
  desc: DescMethod,
  options: MessageShape<typeof MethodOptionsSchema>,
): "direct" | "durable" {
  switch (options.delivery) {
    case Delivery.DIRECT:
      return "direct";
    case Delivery.DURABLE:
      return "durable";
    // checkMethodOptions() refuses numbers without a name.
    default:
      return streamsRequests(desc) ||
        desc.idempotency === MethodOptions_IdempotencyLevel.NO_SIDE_EFFECTS
        ? "direct"
        : "durable";
  }
}

function streamsRequests(desc: DescMethod): boolean {
  return desc.methodKind === "client_streaming" || desc.methodKind === "bidi_streaming";
}

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

/** Finds what is wrong with the options of a service and of its methods. */
export function checkService(desc: DescService): OptionProblem[] {
  const problems: OptionProblem[] = [];
  checkServiceOptions(getOption(desc, serviceOption), (field, message) =>
    problems.push({ desc, field, message }),
  );
  for (const method of desc.methods) {
    if (hasOption(method, methodOption)) {
      checkMethodOptions(method, getOption(method, methodOption), (field, message) =>
        problems.push({ desc: method, field, message }),
      );
    }
    checkBlobs(method, problems);
  }
  return problems;
}

/** What a direct call sends is nowhere kept: neither is what a Blob of it would hold. */
function checkBlobs(desc: DescMethod, problems: OptionProblem[]): void {
  const holder = [desc.input, desc.output].find(holdsBlobs);
  if (holder && deliveryOf(desc, getOption(desc, methodOption)) === "direct") {
    const mend = streamsRequests(desc)
      ? "take the Blob out, or do not stream the requests"
      : "set delivery: DELIVERY_DURABLE, or take the Blob out";
    const message = `${desc.name} is direct, and ${holder.typeName} holds a jetrpc.v1.Blob, which is for durable methods: ${mend}`;
    problems.push({ desc, field: "delivery", message });
  }
}

type Report = (field: string, message: string) => void;

function checkServiceOptions(
  options: MessageShape<typeof ServiceOptionsSchema>,
  report: Report,
): void {
  const { stream, subjectPrefix, replicas, storage, resultRetention } = options;
  if (stream && !/^[A-Za-z0-9_-]{1,200}$/.test(stream)) {
    report("stream", `stream "${stream}" must be 1 to 200 letters, digits, "-" or "_"`);
  }
  if (subjectPrefix && !/^[^\s.*>\p{Cc}]+(\.[^\s.*>\p{Cc}]+)*$/u.test(subjectPrefix)) {
    report(
      "subject_prefix",
      `subject_prefix "${subjectPrefix}" must be tokens joined by single dots, without spaces and without the wildcards "*" and ">"`,
    );
  } else if (/^(\$|_INBOX\b)/.test(subjectPrefix)) {
    report(
      "subject_prefix",
      `subject_prefix "${subjectPrefix}" must not start with "$" or be below "_INBOX": NATS keeps those for itself`,
    );
  }
  if (replicas < 0 || replicas > 5) {
    report("replicas", `replicas ${replicas} must be 1 to 5`);
  }
  checkNamed("storage", storage, Storage, report);
  checkDuration("result_retention", resultRetention, 1000, report);
  checkDuration("max_queue_age", options.maxQueueAge, 1000, report);
  checkDuration("dead_letter_retention", options.deadLetterRetention, 1000, report);
  if (options.maxQueueLength < 0) {
    report("max_queue_length", `max_queue_length ${options.maxQueueLength} must be 1 or more`);
  }
}

function checkMethodOptions(
  desc: DescMethod,
  options: MessageShape<typeof MethodOptionsSchema>,
  report: Report,
): void {
  const { maxAttempts, backoff, concurrency, timeout, ackWait, resume } = options;
  checkNamed("delivery", options.delivery, Delivery, report);
  checkNamed("resume", resume, Resume, report);
  const delivery = deliveryOf(desc, options);
  if (delivery === "durable" && streamsRequests(desc)) {
    report(
      "delivery",
      "a method that streams its requests cannot be durable: remove `delivery`, or send one request",
    );
  }
  if (maxAttempts < 0) {
    report("max_attempts", `max_attempts ${maxAttempts} must be 1 or more`);
  }
  const waits = Math.max(0, (maxAttempts || 5) - 1);
  if (backoff.length > waits) {
    report(
      "backoff",
      `backoff has ${backoff.length} values, but ${maxAttempts || 5} attempts leave room for ${waits}: remove values or raise max_attempts`,
    );
  }
  for (const wait of backoff) {
    checkDuration("backoff", wait, 0, report);
  }
  if (concurrency < 0) {
    report("concurrency", `concurrency ${concurrency} must be 1 or more`);
  }
  if (options.priorities && options.maxConcurrency !== 0) {
    report("priorities", "priorities and max_concurrency exclude each other: remove one");
  }
  if (options.maxConcurrency < 0) {
    report("max_concurrency", `max_concurrency ${options.maxConcurrency} must be 1 or more`);
  }
  for (const name of options.retryCodes) {
    if (codeOf(name) === undefined) {
      report(
        "retry_codes",
        `retry_codes: "${name}" is no code: use unavailable, resource_exhausted, aborted or another of Connect's`,
      );
    }
  }
  checkDuration("timeout", timeout, 1, report);
  checkDuration("ack_wait", ackWait, 1000, report);
  if (delivery === "direct") {
    const durableOnly: [string, boolean][] = [
      ["max_attempts", maxAttempts !== 0],
      ["backoff", backoff.length > 0],
      ["ack_wait", ackWait !== undefined],
      ["resume", resume !== Resume.UNSPECIFIED],
      ["max_concurrency", options.maxConcurrency !== 0],
      ["retry_codes", options.retryCodes.length > 0],
      ["priorities", options.priorities],
    ];
    for (const [field, isSet] of durableOnly) {
      if (isSet) {
        report(
          field,
          `${field} is for durable methods, and ${desc.name} is direct: remove it, or set delivery: DELIVERY_DURABLE`,
        );
      }
    }
  } else if (resume !== Resume.UNSPECIFIED && desc.methodKind !== "server_streaming") {
    report("resume", `resume is for methods that stream their response: remove it`);
  }
}

/** An enum of protobuf may have a number that has no name here. */
function checkNamed(
  field: string,
  value: number,
  names: Record<number, string>,
  report: Report,
): void {
  if (names[value] === undefined) {
    report(field, `${field} ${value} is not known: use one of its names`);
  }
}

/** Above this many ms a timer or a NATS duration overflows: about 24 days for timers. */
const maxDurationMs = 2 ** 31 - 1;

function checkDuration(
  field: string,
  duration: Duration | undefined,
  minMs: number,
  report: Report,
): void {
  if (!duration) {
    return;
  }
  const ms = durationMs(duration);
  const isNoLimit = field === "timeout" && !duration.seconds && !duration.nanos;
  if (ms < minMs && !isNoLimit) {
    report(field, `${field} of ${ms} ms must be at least ${minMs} ms`);
  }
  const isTimer = field === "timeout" || field === "backoff" || field === "ack_wait";
  if (isTimer && ms > maxDurationMs) {
    report(field, `${field} of ${ms} ms must be at most ${maxDurationMs} ms (24 days)`);
  }
}
