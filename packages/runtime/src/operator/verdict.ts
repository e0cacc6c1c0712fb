import type { ConsumerInfo, StreamInfo } from "../link/jetstream-admin.js";
import type { Difference } from "../schema/difference.js";
import type { StreamSettings } from "../schema/infrastructure.js";

/** The consequences of a change on the server. */
export interface Verdict {
  readonly kind: "change" | "destructive" | "impossible";
  /** Facts that a person has to know of it. */
  readonly reasons: readonly string[];
}

type Finding = readonly [kind: Verdict["kind"], reason: string];

/** Settings of a stream that the server refuses to change. */
const fixedOfStream = ["storage", "retention"];
/** Settings of a consumer that the server refuses to change. */
const fixedOfConsumer = ["ack_policy"];

/** Judges differences of a stream. */
export function judgeStream(
  differences: readonly Difference[],
  wanted: StreamSettings,
  info: StreamInfo,
): Verdict {
  return sum(differences.map((difference) => judgeStreamField(difference, wanted, info)));
}

function judgeStreamField(
  { field, from, to }: Difference,
  wanted: StreamSettings,
  { config, state }: StreamInfo,
): Finding | undefined {
  const has = `it holds ${messages(state.messages)}`;
  switch (field) {
    case "max_age":
      return isLess(to, from)
        ? ["destructive", `what is older than the new max_age is dropped: ${has}${since(state)}`]
        : undefined;
    case "max_msgs_per_subject":
      return isLess(to, from)
        ? ["destructive", `all but the last ${to} of each subject are dropped: ${has}`]
        : undefined;
    case "max_msgs":
      // A stream that refuses what is new drops nothing that it has.
      return isLess(to, from) && { ...config, ...wanted }.discard !== "new"
        ? ["destructive", `the oldest messages above the limit are dropped: ${has}`]
        : undefined;
    case "subjects":
      return (from as string[]).every((subject) => (to as string[]).includes(subject))
        ? undefined
        : ["destructive", `what lies on subjects that it loses is out of reach: ${has}`];
    case "num_replicas":
      return Number(to) < Number(from)
        ? ["change", `fewer servers keep a copy: ${to} instead of ${from}`]
        : undefined;
    default:
      return fixedOfStream.includes(field)
        ? [
            "impossible",
            `JetStream cannot change the ${field} of a stream: take the option back, or remove the stream with all that it holds (${messages(state.messages)}) and apply again`,
          ]
        : undefined;
  }
}

/** Judges differences of a consumer. */
export function judgeConsumer(
  differences: readonly Difference[],
  { num_pending, num_ack_pending }: ConsumerInfo,
): Verdict {
  return sum(
    differences.map(({ field, from, to }): Finding | undefined => {
      if (field === "filter_subject") {
        return [
          "destructive",
          `calls on its old subject are given to nobody: ${num_pending + num_ack_pending} wait or run`,
        ];
      }
      if (field === "ack_wait" && Number(to) < Number(from) / 3) {
        return [
          "change",
          "workers that run now speak up less often: start them anew, or their calls are attempted twice",
        ];
      }
      return fixedOfConsumer.includes(field)
        ? [
            "impossible",
            `JetStream cannot change the ${field} of a consumer: remove it, and apply again`,
          ]
        : undefined;
    }),
  );
}

function sum(findings: readonly (Finding | undefined)[]): Verdict {
  const all = findings.filter((finding) => finding !== undefined);
  const has = (kind: Verdict["kind"]) => all.some(([its]) => its === kind);
  return {
    kind: has("impossible") ? "impossible" : has("destructive") ? "destructive" : "change",
    reasons: all.map(([, reason]) => reason),
  };
}

/** True when a limit gets narrower; 0 and -1 are none. */
function isLess(to: unknown, from: unknown): boolean {
  const limit = (value: unknown) => (Number(value ?? 0) > 0 ? Number(value) : Infinity);
  return limit(to) < limit(from);
}

function messages(count: number): string {
  return count === 1 ? "1 message" : `${count} messages`;
}

function since({ messages, first_ts }: StreamInfo["state"]): string {
  return messages > 0 ? `, the oldest of ${new Date(first_ts).toISOString()}` : "";
}
