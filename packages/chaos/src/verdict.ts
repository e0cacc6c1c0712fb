import type { CallName } from "./message.js";

/** The outcome of the calls. */
export interface Verdict {
  accepted: number;
  /** Ended as they should: with their result, or canceled, or expired. */
  done: number;
  /** Failed for good, and kept as dead letters. */
  dead: number;
  /** Of which an administrator removed the log, so that nothing shows how they ended. */
  removed: number;
  /** Accepted, and nowhere to be found; or their end or result is not what it has to be. */
  lost: number;
  /** With two ends, or with a message that is there twice. */
  doubled: number;
  /** Not ended although everything is well again. */
  stuck: number;
  /** Objects, dead letters and progress of calls that do not need them any more. */
  left: number;
  /** Handlers that ran more often, or more of them at once, than the schema allows. */
  exceeded: number;
  /** Processes that ended by a mistake of their own. */
  crashed: number;
  /** Processes whose memory grew as long as they lived. */
  grown: number;
}

/** Counts of what must not be. */
const failureNames = ["lost", "doubled", "stuck", "left", "exceeded", "crashed", "grown"] as const;

/** Something that is not as it has to be. */
export interface Failure {
  readonly verdict: (typeof failureNames)[number];
  readonly call?: CallName | undefined;
  readonly why: string;
}

/** The findings, and how they are counted. */
export interface Findings {
  readonly verdict: Verdict;
  readonly failures: readonly Failure[];
}

export function isGood(verdict: Verdict): boolean {
  return verdict.accepted > 0 && failureNames.every((name) => verdict[name] === 0);
}

/** The verdict in one line. */
export function verdictLine(verdict: Verdict): string {
  const names = ["accepted", "done", "dead", "removed", ...failureNames] as const;
  return names.map((name) => `${name} ${verdict[name]}`).join(" ");
}
