import {
  type DescMethod,
  type DescService,
  getOption,
  hasOption,
  type MessageShape,
} from "@bufbuild/protobuf";
import { type Duration, durationMs } from "@bufbuild/protobuf/wkt";
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
import { codeNamed } from "./code-name.js";
import { methodDelivery, streamsRequests } from "./delivery.js";

/** An option that contradicts another one or the descriptor, or cannot be. */
export interface OptionProblem {
  /** The service or the method whose option it is. */
  readonly desc: DescService | DescMethod;
  /** Field of `jetrpc.v1.ServiceOptions` or `jetrpc.v1.MethodOptions`. */
  readonly field: string;
  /** Says what is wrong, and how to mend it. */
  readonly message: string;
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

/** Nothing of a direct call is kept: neither would be what a Blob of it holds. */
function checkBlobs(desc: DescMethod, problems: OptionProblem[]): void {
  const holder = [desc.input, desc.output].find(holdsBlobs);
  if (holder && methodDelivery(desc, getOption(desc, methodOption)) === "direct") {
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
  const delivery = methodDelivery(desc, options);
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
    if (codeNamed(name) === undefined) {
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
