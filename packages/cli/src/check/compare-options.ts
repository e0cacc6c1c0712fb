import type { MethodBinding, ServiceBinding } from "@jetrpc/runtime/schema";
import { showDuration } from "../duration.js";
import type { MethodCensus } from "./call-census.js";
import type { Verdict } from "./verdict.js";

/** What is stored, as far as it could be looked at. */
export type Census = ReadonlyMap<string, MethodCensus> | undefined;

/** Compares what two schemas say of a service beside its messages. */
export function compareOptions(
  before: ServiceBinding,
  after: ServiceBinding,
  census: Census,
): Verdict[] {
  const verdicts: Verdict[] = [];
  const service = after.desc.typeName;
  const all = [...(census?.values() ?? [])];
  const sum = (of: (each: MethodCensus) => number) =>
    census && all.reduce((total, each) => total + of(each), 0);
  for (const [option, was, is] of [
    ["subject_prefix", before.prefix, after.prefix],
    ["stream", before.stream, after.stream],
  ] as const) {
    if (was !== is) {
      const calls = sum((each) => each.unfinished + each.dead.length + each.ended.length);
      verdicts.push({
        level: "error",
        rule: "names-change",
        service,
        ...(calls !== undefined && { calls }),
        message: `${option} changes from ${was} to ${is}: what is stored is out of reach, and callers and workers of the two schemas do not meet`,
      });
    }
  }
  const now = Date.now();
  const older = (times: readonly number[], ms: number) =>
    times.filter((time) => time < now - ms).length;
  const queued = sum((each) => each.queued.length);
  verdicts.push(
    ...shrinks(service, undefined, [
      {
        option: "result_retention",
        was: before.resultRetentionMs,
        is: after.resultRetentionMs,
        calls: sum(({ ended }) => older(ended, after.resultRetentionMs)),
        what: "results that are dropped",
      },
      {
        option: "dead_letter_retention",
        was: before.deadLetterRetentionMs,
        is: after.deadLetterRetentionMs,
        calls: sum(({ dead }) => older(dead, after.deadLetterRetentionMs)),
        what: "dead letters that are dropped",
      },
      {
        option: "max_queue_age",
        was: before.maxQueueAgeMs,
        is: after.maxQueueAgeMs,
        calls: sum(({ queued: times }) => older(times, after.maxQueueAgeMs)),
        what: "calls that are older: further ones are refused",
      },
      {
        option: "max_queue_length",
        was: before.maxQueueLength,
        is: after.maxQueueLength,
        calls: queued && Math.max(0, queued - after.maxQueueLength),
        what: "calls too many: further ones are refused",
        isCount: true,
      },
    ]),
  );
  for (const method of before.methods.values()) {
    const its = [...after.methods.values()].find(({ desc }) => desc.name === method.desc.name);
    const stored = census && (census.get(method.desc.name) ?? undefined);
    verdicts.push(...compareMethod(service, method, its, stored, census !== undefined));
  }
  return verdicts;
}

function compareMethod(
  service: string,
  before: MethodBinding,
  after: MethodBinding | undefined,
  stored: MethodCensus | undefined,
  isKnown: boolean,
): Verdict[] {
  const method = before.desc.name;
  const unfinished = isKnown ? (stored?.unfinished ?? 0) : undefined;
  const reachable = isKnown
    ? (stored?.unfinished ?? 0) + (stored?.dead.length ?? 0) + (stored?.ended.length ?? 0)
    : undefined;
  const breaks = (rule: string, message: string): Verdict => ({
    level: "error",
    rule,
    service,
    method,
    ...(reachable !== undefined && { calls: reachable }),
    message,
  });
  if (!after) {
    return [
      breaks(
        "method-removed",
        "the method is gone: its callers fail, and its calls are not served",
      ),
    ];
  }
  if (before.delivery !== after.delivery) {
    return [
      breaks(
        "delivery-changes",
        `it was ${before.delivery} and becomes ${after.delivery}: callers of the other schema are refused`,
      ),
    ];
  }
  if (before.desc.methodKind !== after.desc.methodKind) {
    return [
      breaks(
        "kind-changes",
        `it was ${before.desc.methodKind} and becomes ${after.desc.methodKind}`,
      ),
    ];
  }
  const limits = [
    {
      option: "timeout",
      was: before.timeoutMs,
      is: after.timeoutMs,
      calls: unfinished,
      what: "calls that get less time",
    },
  ];
  if (after.delivery === "direct") {
    return shrinks(service, method, limits);
  }
  const prioritized = isKnown ? (stored?.prioritized ?? 0) : undefined;
  return shrinks(service, method, [
    ...limits,
    {
      option: "max_attempts",
      was: before.maxAttempts,
      is: after.maxAttempts,
      calls: unfinished,
      what: "calls that are attempted less often",
      isCount: true,
    },
    {
      option: "max_concurrency",
      was: before.maxConcurrency,
      is: after.maxConcurrency,
      what: "fewer of its calls run at once",
      isCount: true,
    },
    {
      option: "concurrency",
      was: before.concurrency,
      is: after.concurrency,
      what: "fewer of its calls run at once in a worker",
      isCount: true,
    },
    {
      option: "priorities",
      was: Number(before.priorities),
      is: Number(after.priorities) || (before.priorities ? 0.5 : 0),
      calls: prioritized,
      what: "calls with a priority, which nobody takes, and submissions that name one are refused",
      isCount: true,
    },
  ]);
}

/** A limit; 0 is none. */
interface Limit {
  readonly option: string;
  readonly was: number;
  readonly is: number;
  /** How many stored calls it hits; undefined where it hits none, or where nobody may look. */
  readonly calls?: number | undefined;
  readonly what: string;
  /** No time in ms. */
  readonly isCount?: boolean;
}

function shrinks(service: string, method: string | undefined, limits: readonly Limit[]): Verdict[] {
  const size = (value: number) => (value > 0 ? value : Number.POSITIVE_INFINITY);
  return limits
    .filter(({ was, is }) => size(is) < size(was))
    .map(({ option, was, is, calls, what, isCount }) => {
      const show = (value: number) =>
        value === 0 ? "no limit" : isCount ? `${Math.floor(value)}` : showDuration(value);
      const values =
        option === "priorities"
          ? "priorities are taken away"
          : `${option} shrinks from ${show(was)} to ${show(is)}`;
      return {
        level: (calls ?? 0) > 0 ? "error" : "warning",
        rule: "option-shrinks",
        service,
        ...(method !== undefined && { method }),
        ...(calls !== undefined && { calls }),
        message: `${values} (${what})`,
      };
    });
}
