import type { MessageInitShape } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@jetrpc/runtime";
import type { BulkAct as ActName, CallFilter as OperatorFilter } from "@jetrpc/runtime/operator";
import { operatorFilter } from "./call-filter.js";
import { callError } from "./call-summary.js";
import { errorGroupOf } from "./error-group.js";
import {
  type ActOnCallsRequest,
  type ActOnCallsResponseSchema,
  BulkAct,
  type CallName,
  type CallOutcomeSchema,
} from "./gen/jetrpc/console/v1/console_service_pb.js";
import { invalid } from "./invalid.js";
import type { Target } from "./target.js";

/** Calls that are named in one request, at most, and acted upon at once. */
const maxNames = 1_000;
const atOnce = 8;

/** Calls that are acted upon between two reports. */
const stepSize = 64;

/** Failures that are told. */
const maxFailures = 100;

type Outcome = MessageInitShape<typeof CallOutcomeSchema> & { done: boolean };
export type Progress = MessageInitShape<typeof ActOnCallsResponseSchema>;

const actNames = {
  [BulkAct.CANCEL]: "cancel",
  [BulkAct.REPLAY]: "replay",
  [BulkAct.DISCARD]: "discard",
} as const;

/** An act as the operator API names it. Throws InvalidArgument. */
export function actName(act: BulkAct): ActName {
  const name = (actNames as Partial<Record<BulkAct, ActName>>)[act];
  if (!name) {
    throw invalid("act is missing: cancel, replay or discard");
  }
  return name;
}

/** Throws InvalidArgument for no names, or too many. */
export function checkNames(names: readonly CallName[]): void {
  if (names.length === 0 || names.length > maxNames) {
    throw invalid(`${names.length} calls are named: give 1 to ${maxNames}`);
  }
}

/** Acts on calls that are named, a few at once. What fails for one is in its outcome. */
export async function actOnNames(
  target: Target,
  act: ActName,
  names: readonly CallName[],
): Promise<Outcome[]> {
  return await inOrder(names, async (name) => {
    try {
      return { name, done: await actOnOne(target, act, name) };
    } catch (error) {
      return { name, done: false, error: callError(ConnectError.from(error)) };
    }
  });
}

/** How many calls were acted upon, for the log. */
export function countDone(outcomes: readonly Outcome[]) {
  const failed = outcomes.filter(({ error }) => error !== undefined);
  const done = outcomes.filter((outcome) => outcome.done).length;
  const rest = outcomes.length - done - failed.length;
  const parts = [
    done > 0 && "done",
    rest > 0 && (done > 0 ? `nothing to do for ${rest}` : "nothing to do"),
    failed.length > 0 && `failed for ${failed.length}: ${failed[0]?.error?.message ?? ""}`,
  ];
  return {
    outcome: parts.filter(Boolean).join(", "),
    count: done,
    failed: failed.length > 0,
  };
}

async function actOnOne(
  target: Target,
  act: ActName,
  { service, method, owner, callId }: CallName,
  beforeMs = Number.POSITIVE_INFINITY,
): Promise<boolean> {
  const { operator } = target.operator(service);
  const story = await operator.showCall({ method, owner, callId });
  if (act === "cancel") {
    return await story.cancel();
  }
  const { deadLetter } = story;
  if (!deadLetter || deadLetter.failedAt.getTime() >= beforeMs) {
    return false;
  }
  if (act === "replay") {
    return await deadLetter.replay();
  }
  await deadLetter.discard();
  return true;
}

/** Where an act on many calls goes on. */
interface Resume {
  /** The service that is acted upon, and its own token. */
  readonly service: string;
  readonly token: string;
  /** When the act began, of a group of errors: what fails later is not of it. */
  readonly beganMs: number;
}

/**
 * Acts on all calls that fit, one service after the other, and tells how far it is. When `signal`
 * ends it, the last report says where it goes on. Errors: those of the operator API.
 */
export async function* actOnFitting(
  target: Target,
  { act, filter, dryRun, resumeToken }: ActOnCallsRequest,
  signal: AbortSignal,
): AsyncGenerator<Progress, void, undefined> {
  const name = actName(act);
  const wanted = operatorFilter(filter);
  const resume = resumeToken === "" ? undefined : readResume(resumeToken);
  const beganMs = resume?.beganMs ?? Date.now();
  const sum = new Sum();
  const operators = target.operators(filter?.service);
  const from = operators.findIndex(({ service }) => service.typeName === resume?.service);
  for (const { service, operator } of operators.slice(Math.max(0, from))) {
    const { typeName } = service;
    const its = typeName === resume?.service ? resume.token : "";
    const step = { act: name, dryRun, signal, beganMs, token: its };
    const reports = filter?.errorGroup
      ? actOnGroup(target, typeName, wanted, filter.errorGroup, step)
      : actByOperator(typeName, operator, wanted, step);
    for await (const { token, ...progress } of reports) {
      sum.take(progress);
      yield sum.report(writeResume({ service: typeName, token, beganMs }), false);
    }
    sum.next();
    if (signal.aborted) {
      return;
    }
  }
  yield sum.report("", true);
}

interface Step {
  readonly act: ActName;
  readonly dryRun: boolean;
  readonly signal: AbortSignal;
  readonly beganMs: number;
  readonly token: string;
}

interface Counts {
  readonly matched: number;
  readonly done: number;
  readonly skipped: number;
  readonly failed: number;
  readonly failures: readonly Outcome[];
}

type Report = Counts & { readonly token: string };

/** What several services did, together. */
class Sum {
  private before: Counts = { matched: 0, done: 0, skipped: 0, failed: 0, failures: [] };
  private now = this.before;

  /** Takes the last report of the service that is acted upon. */
  take(counts: Counts): void {
    const { before } = this;
    this.now = {
      matched: before.matched + counts.matched,
      done: before.done + counts.done,
      skipped: before.skipped + counts.skipped,
      failed: before.failed + counts.failed,
      failures: [...before.failures, ...counts.failures].slice(0, maxFailures),
    };
  }

  next(): void {
    this.before = this.now;
  }

  report(resumeToken: string, isComplete: boolean): Progress {
    const { matched, done, skipped, failed, failures } = this.now;
    return {
      matched: BigInt(matched),
      done: BigInt(done),
      skipped: BigInt(skipped),
      failed: BigInt(failed),
      failures: [...failures],
      resumeToken,
      isComplete,
    };
  }
}

async function* actByOperator(
  service: string,
  operator: ReturnType<Target["operator"]>["operator"],
  filter: OperatorFilter,
  { act, dryRun, signal, token }: Step,
): AsyncGenerator<Report, void, undefined> {
  const reports: Report[] = [];
  let wake = () => {};
  const ended = operator
    .actOnCalls(act, filter, {
      dryRun,
      signal,
      ...(token !== "" && { resumeToken: token }),
      onProgress: ({ failures, resumeToken, ...counts }) => {
        // The last one says it all.
        reports.splice(0, reports.length, {
          ...counts,
          token: resumeToken,
          failures: failures.map(({ method, owner, callId, error }) => ({
            name: { service, method, owner, callId },
            done: false,
            error: callError(error),
          })),
        });
        wake();
      },
    })
    .finally(() => wake());
  let isOver = false;
  // Its error is thrown below.
  ended.then(
    () => (isOver = true),
    () => (isOver = true),
  );
  for (;;) {
    const [report] = reports.splice(0);
    if (report) {
      yield report;
    } else if (isOver) {
      await ended;
      return;
    } else {
      await new Promise<void>((resolve) => {
        wake = resolve;
      });
    }
  }
}

/** Acts on failed calls whose errors are of a group: the server cannot tell them from others. */
async function* actOnGroup(
  target: Target,
  service: string,
  filter: OperatorFilter,
  group: string,
  { act, dryRun, signal, beganMs }: Step,
): AsyncGenerator<Report, void, undefined> {
  const { operator } = target.operator(service);
  const until = new Date(Math.min(beganMs, filter.until?.getTime() ?? beganMs));
  const counts = { matched: 0, done: 0, skipped: 0, failed: 0 };
  const failures: Outcome[] = [];
  let step: CallName[] = [];
  const flush = async () => {
    const outcomes = dryRun
      ? []
      : await inOrder(step, async (name): Promise<Outcome> => {
          try {
            return { name, done: await actOnOne(target, act, name, beganMs) };
          } catch (cause) {
            const error = ConnectError.from(cause);
            if ([Code.PermissionDenied, Code.Unavailable].includes(error.code)) {
              throw error;
            }
            return { name, done: false, error: callError(error) };
          }
        });
    step = [];
    for (const outcome of outcomes) {
      counts[outcome.error ? "failed" : outcome.done ? "done" : "skipped"]++;
      if (outcome.error && failures.length < maxFailures) {
        failures.push(outcome);
      }
    }
    return { ...counts, failures: [...failures], token: "" };
  };
  for await (const call of operator.calls({ ...filter, until })) {
    const { method, owner, callId } = call;
    if (signal.aborted) {
      return;
    }
    if (errorGroupOf(service, method, call.error).key === group) {
      counts.matched++;
      step.push({ service, method, owner, callId } as CallName);
    }
    if (step.length >= stepSize) {
      yield await flush();
    }
  }
  yield await flush();
}

/** The results of some work for each, a few at once, in the order of the items. */
async function inOrder<T, R>(items: readonly T[], work: (item: T) => Promise<R>): Promise<R[]> {
  const results = new Array<R>(items.length);
  const left = items.map((item, index) => ({ item, index }));
  const run = async () => {
    for (let next = left.shift(); next; next = left.shift()) {
      results[next.index] = await work(next.item);
    }
  };
  await Promise.all(Array.from({ length: atOnce }, run));
  return results;
}

function writeResume(resume: Resume): string {
  return Buffer.from(JSON.stringify(resume)).toString("base64url");
}

function readResume(text: string): Resume {
  try {
    const resume = JSON.parse(Buffer.from(text, "base64url").toString()) as Resume;
    const { service, token, beganMs } = resume;
    if (typeof service === "string" && typeof token === "string" && Number.isFinite(beganMs)) {
      return resume;
    }
  } catch {
    // Said below.
  }
  throw invalid("the resume_token is not of an act on calls: begin anew, without it");
}
