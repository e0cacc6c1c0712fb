import type { CallTrace } from "./call-trace.js";
import type { Expected } from "./message.js";
import type { Failure } from "./verdict.js";

/** All that is known of a call. */
export interface Evidence {
  /** Undefined when no client said that it was accepted: it may have been killed before. */
  readonly expected: Expected | undefined;
  readonly trace: CallTrace | undefined;
  /** The attempts whose handlers have begun. */
  readonly began: readonly number[];
  readonly maxAttempts: number;
  readonly isQueued: boolean;
  readonly isDead: boolean;
  /** True when an administrator deleted something of its log. */
  readonly isLogRemoved: boolean;
  /** True when an administrator deleted its dead letter. */
  readonly isLetterRemoved: boolean;
}

export type Judgement =
  | { readonly verdict: "done" | "dead" | "removed" | "none" }
  | { readonly verdict: Failure["verdict"]; readonly why: string };

/** Tells what became of a call. */
export function judge(call: Evidence): Judgement {
  const { trace, isQueued, isDead, isLogRemoved, began } = call;
  const ends = trace?.ends ?? [];
  const [end] = ends;
  if (isQueued) {
    return { verdict: "stuck", why: `it ${end ? `ended ${end}` : "has no end"}, and is queued` };
  }
  if (ends.length > 1) {
    return { verdict: "doubled", why: `it ended ${ends.join(", ")}` };
  }
  if (isLogRemoved) {
    return { verdict: "removed" };
  }
  if (trace?.disorder) {
    return { verdict: "doubled", why: trace.disorder };
  }
  const excess = excessOf(call);
  if (excess) {
    return { verdict: "exceeded", why: excess };
  }
  if (end === undefined) {
    // A call that no client knows to be accepted, and no worker has begun, may never have been stored.
    const isUnknown = !call.expected && began.length === 0 && !isDead;
    return isUnknown
      ? { verdict: "none" }
      : { verdict: "lost", why: "it has no end, and is not queued" };
  }
  if (isDead && end !== "failed") {
    return { verdict: "left", why: `it ended ${end}, and has a dead letter` };
  }
  return judgeEnd(call, end);
}

function judgeEnd(call: Evidence, end: string): Judgement {
  const { expected, trace, isDead } = call;
  if (expected && !isRight(call, end)) {
    const right = expected.ends.join(" or ");
    return { verdict: "lost", why: `it ended ${end} at attempt ${trace?.attempt}, not ${right}` };
  }
  if (end === "failed") {
    return isDead || call.isLetterRemoved
      ? { verdict: "dead" }
      : { verdict: "lost", why: "it failed without dead letter" };
  }
  return trace?.problem ? { verdict: "lost", why: trace.problem } : { verdict: "done" };
}

/** A call that has used up its attempts may fail. */
function isRight({ expected, trace, maxAttempts }: Evidence, end: string): boolean {
  const spent = (trace?.attempt ?? 0) - (trace?.released.length ?? 0);
  return (
    expected?.ends.some((right) => right === end) === true ||
    (end === "failed" && spent >= maxAttempts)
  );
}

/** Handlers that ran although no attempt was left. Those of attempts given back do not count. */
function excessOf({ began, trace, maxAttempts }: Evidence): string | undefined {
  const counted = began.filter((attempt) => !trace?.released.includes(attempt));
  return counted.length > maxAttempts
    ? `handlers ran ${counted.length} times (attempts ${began.join(", ")}), of ${maxAttempts}`
    : undefined;
}
