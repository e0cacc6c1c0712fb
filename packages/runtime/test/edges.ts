import type { CallStateName } from "@jetrpc/runtime";
import type { Frame } from "./wire-tap.js";

/** Who takes part in a call. */
export type Party = "client" | "worker" | "server";

/** Methods of EdgeService. */
export type EdgeMethod = "run" | "flow" | "once" | "back" | "wait";

/** State of a call; undefined for one that nobody knows. */
export type EdgeState = CallStateName | undefined;

/** A message that somebody has to send on the way along an edge. */
interface Step {
  readonly name: string;
  readonly by: "client" | "worker";
  /** Finds the message among those that pass. */
  readonly matches: (frame: Frame, row: RowData) => boolean;
  /**
   * Log of the call, without claims, when who sends it is killed before or after that; only the outcome
   * where more than one log is right. Default: the log of the scenario.
   */
  readonly before?: string;
  readonly after?: string;
  /** What status() shows before and after it. A first attempt may be shown as queued. */
  readonly states?: readonly [EdgeState, EdgeState];
  /** Nothing can be told from an answer to it: it is caught before only. */
  readonly isDelivery?: boolean;
}

/** What tells one row's messages from those of others. */
export interface RowData {
  readonly id: string;
  readonly method: string;
  /** Where the dead letter of the call is stored. */
  letter?: number;
}

/** A step of a call that is caught before or after it. */
export interface Caught {
  readonly scenario: Scenario;
  readonly step: Step;
  readonly when: "before" | "after";
}

/** The log that a call is to have after a party was killed; its outcome where more than one is right. */
export function logAfter(party: Party, { scenario, step, when }: Caught): string {
  const log = (party === step.by ? step[when] : undefined) ?? scenario.log;
  // What was under way is done by the one who did it, or by who comes after.
  return party === "server" ? outcomeOf(log) : log;
}

/** The last word of a log. */
export function outcomeOf(log: string): string {
  return log.slice(log.lastIndexOf(" ") + 1);
}

/** A call on its way along one edge of the state table. */
export interface Scenario {
  /** Name of the edge in docs/durable-calls.md. */
  readonly edge: string;
  readonly from: EdgeState;
  readonly to: CallStateName;
  readonly method: EdgeMethod;
  /** What the handler does: see edge-worker.mjs. */
  readonly request: { text: string; count?: number };
  readonly timeoutMs?: number;
  /** Starts so many ms after its acceptance. */
  readonly startsInMs?: number;
  /** Its first worker has taken it and was never heard of again. */
  readonly isLost?: boolean;
  /** Its method is in no schema any more. */
  readonly isStray?: boolean;
  /** Its time is over before its first worker comes. */
  readonly isLate?: boolean;
  /** What the client does when the call is in a state. */
  readonly act?: { readonly state: CallStateName; readonly command: "cancel" | "replay" };
  /** The client does not wait for the end: somebody who waits ends it when its time is over. */
  readonly isLeft?: boolean;
  /** Log of the call when nothing crashes that matters to it. */
  readonly log: string;
  readonly steps: readonly Step[];
}

type Match = Step["matches"];

const isOf = (kind: string): Match => {
  return (frame, { id, method }) =>
    frame.isSent &&
    !frame.isAck &&
    frame.subject.startsWith(`test.v1.EdgeService.${kind}.${method}._._.${id}`);
};

const entry = (start: string): Match => {
  const matches = isOf("log");
  return (frame, row) =>
    matches(frame, row) && frame.headers.includes(`\r\nJetrpc-Entry: ${start}`);
};

const answer = (how: "+ACK" | "-NAK", kind = "queue"): Match => {
  return ({ isSent, isAck, subject, body }, { id }) =>
    isSent &&
    isAck &&
    subject.startsWith(`test.v1.EdgeService.${kind}.`) &&
    subject.endsWith(`.${id}`) &&
    body.startsWith(how);
};

const withdrawal = (isLast: boolean): Match => {
  const matches = [isOf("queue"), isOf("later")];
  return (frame, row) =>
    matches.some((each) => each(frame, row)) &&
    frame.headers.includes("\r\nJetrpc-Withdrawn: ") &&
    frame.headers.includes("\r\nNats-TTL: ") === isLast;
};

const delivery = (kind: string): Match => {
  return ({ isSent, subject }, { id }) =>
    !isSent && subject.startsWith(`test.v1.EdgeService.${kind}.`) && subject.endsWith(`.${id}`);
};

const api = (call: string, body: (row: RowData) => string): Match => {
  return (frame, row) =>
    frame.isSent && frame.subject === `$JS.API.${call}` && frame.body.includes(body(row));
};

const acked = (how: "+ACK" | "-NAK"): Step => ({
  name: how === "+ACK" ? "ack" : "nak",
  by: "worker",
  matches: answer(how),
});

const buried: Step = { name: "dead letter", by: "worker", matches: isOf("dead") };

/**
 * How a client ends a call. What withdraws its request may come to a worker at once,
 * who then removes it: only where there is none does the client always do so.
 */
const ended = (
  outcome: "cancelled" | "expired",
  from: CallStateName,
  steps: { withdrawal?: string; removal?: boolean },
): Step[] => {
  const all: Step[] = [
    { name: "end", by: "client", matches: entry("end"), states: [from, outcome] },
  ];
  if (steps.withdrawal !== undefined) {
    const matches = withdrawal(false);
    all.unshift({ name: "withdrawal", by: "client", matches, before: steps.withdrawal });
  }
  if (steps.removal) {
    all.push({ name: "removal", by: "client", matches: withdrawal(true) });
  }
  return all;
};

/** Every edge of the state table, by all ways in which it is gone. */
export const scenarios: readonly Scenario[] = [
  {
    edge: "accepted",
    from: undefined,
    to: "queued",
    method: "run",
    request: { text: "" },
    log: "succeeded",
    steps: [
      {
        name: "request",
        by: "client",
        matches: isOf("queue"),
        before: "",
        states: [undefined, "queued"],
      },
    ],
  },
  {
    edge: "accepted for later",
    from: undefined,
    to: "scheduled",
    method: "run",
    request: { text: "" },
    startsInMs: 8_000,
    log: "end 1 succeeded",
    steps: [
      {
        name: "request",
        by: "client",
        matches: isOf("later"),
        before: "",
        states: [undefined, "scheduled"],
      },
    ],
  },
  {
    edge: "due",
    from: "scheduled",
    to: "queued",
    method: "run",
    request: { text: "" },
    startsInMs: 200,
    log: "succeeded",
    steps: [
      {
        name: "delivery",
        by: "worker",
        matches: delivery("due.queue"),
        isDelivery: true,
      },
      { name: "request", by: "worker", matches: isOf("queue"), states: ["queued", "queued"] },
      { name: "ack", by: "worker", matches: answer("+ACK", "due") },
    ],
  },
  {
    edge: "begun",
    from: "queued",
    to: "running",
    method: "run",
    request: { text: "hang" },
    log: "attempt 1, end 1 succeeded",
    steps: [
      {
        name: "attempt",
        by: "worker",
        matches: entry("attempt 1"),
        before: "attempt 2, end 2 succeeded",
        after: "attempt 1, attempt 2, end 2 succeeded",
        states: ["queued", "running"],
      },
    ],
  },
  {
    edge: "begun",
    from: "queued",
    to: "running",
    method: "run",
    request: { text: "" },
    log: "succeeded",
    steps: [
      {
        name: "delivery",
        by: "worker",
        matches: delivery("queue"),
        before: "attempt 2, end 2 succeeded",
        states: ["queued", "queued"],
        isDelivery: true,
      },
    ],
  },
  {
    edge: "begun",
    from: "queued",
    to: "running",
    method: "flow",
    request: { text: "", count: 3 },
    log: "message 1, message 1, message 1, end 1 succeeded",
    steps: [
      {
        name: "message",
        by: "worker",
        matches: entry("message 1"),
        before: "attempt 2, message 2, message 2, message 2, end 2 succeeded",
        after: "message 1, attempt 2, message 2, message 2, end 2 succeeded",
        states: ["queued", "running"],
      },
    ],
  },
  {
    edge: "succeeded",
    from: "running",
    to: "succeeded",
    method: "run",
    request: { text: "" },
    log: "end 1 succeeded",
    steps: [
      {
        name: "end",
        by: "worker",
        matches: entry("end"),
        before: "attempt 2, end 2 succeeded",
        states: ["running", "succeeded"],
      },
      acked("+ACK"),
    ],
  },
  {
    edge: "failed",
    from: "running",
    to: "failed",
    method: "run",
    request: { text: "fail" },
    log: "end 1 failed",
    steps: [
      {
        name: "end",
        by: "worker",
        matches: entry("end"),
        before: "attempt 2, end 2 failed",
        states: ["running", "failed"],
      },
      buried,
      acked("+ACK"),
    ],
  },
  {
    edge: "given up",
    from: "running",
    to: "failed",
    method: "once",
    request: { text: "" },
    isLost: true,
    log: "end 1 failed",
    steps: [
      { name: "end", by: "worker", matches: entry("end"), states: ["running", "failed"] },
      buried,
      acked("+ACK"),
    ],
  },
  {
    edge: "to be repeated",
    from: "running",
    to: "retrying",
    method: "run",
    request: { text: "retry" },
    log: "retry 1, attempt 2, end 2 succeeded",
    steps: [
      {
        name: "retry",
        by: "worker",
        matches: entry("retry"),
        before: "attempt 2, end 2 succeeded",
        states: ["running", "retrying"],
      },
      acked("-NAK"),
    ],
  },
  {
    edge: "repeated",
    from: "retrying",
    to: "running",
    method: "run",
    request: { text: "retry" },
    log: "retry 1, attempt 2, end 2 succeeded",
    steps: [
      {
        name: "attempt",
        by: "worker",
        matches: entry("attempt 2"),
        before: "retry 1, attempt 2, end 2 succeeded",
        after: "retry 1, attempt 2, attempt 3, end 3 succeeded",
        states: ["retrying", "running"],
      },
    ],
  },
  {
    edge: "taken over",
    from: "running",
    to: "running",
    method: "run",
    request: { text: "" },
    isLost: true,
    log: "attempt 2, end 2 succeeded",
    steps: [
      {
        name: "attempt",
        by: "worker",
        matches: entry("attempt 2"),
        before: "attempt 2, end 2 succeeded",
        after: "attempt 2, attempt 3, end 3 succeeded",
        states: ["running", "running"],
      },
    ],
  },
  {
    edge: "given back",
    from: "running",
    to: "queued",
    method: "back",
    request: { text: "hang" },
    log: "attempt 1, release 1, attempt 2, end 2 succeeded",
    steps: [
      {
        name: "release",
        by: "worker",
        matches: entry("release"),
        before: "attempt 1, attempt 2, end 2 succeeded",
        states: ["running", "queued"],
      },
      acked("-NAK"),
    ],
  },
  {
    edge: "canceled before its time",
    from: "scheduled",
    to: "cancelled",
    method: "run",
    request: { text: "" },
    startsInMs: 20_000,
    act: { state: "scheduled", command: "cancel" },
    log: "end 0 cancelled",
    steps: ended("cancelled", "scheduled", { removal: true }),
  },
  {
    edge: "canceled in the queue",
    from: "queued",
    to: "cancelled",
    method: "wait",
    request: { text: "" },
    act: { state: "queued", command: "cancel" },
    log: "end 0 cancelled",
    steps: ended("cancelled", "queued", { withdrawal: "end 1 succeeded", removal: true }),
  },
  {
    edge: "canceled while it runs",
    from: "running",
    to: "cancelled",
    method: "run",
    request: { text: "hang" },
    act: { state: "running", command: "cancel" },
    log: "attempt 1, end 1 cancelled",
    steps: ended("cancelled", "running", { withdrawal: "attempt 1, end 1 succeeded" }),
  },
  {
    edge: "canceled between attempts",
    from: "retrying",
    to: "cancelled",
    method: "run",
    request: { text: "rest", count: 8_000 },
    act: { state: "retrying", command: "cancel" },
    log: "retry 1, end 1 cancelled",
    steps: ended("cancelled", "retrying", { withdrawal: "succeeded" }),
  },
  {
    edge: "expired in the queue",
    from: "queued",
    to: "expired",
    method: "wait",
    request: { text: "" },
    timeoutMs: 300,
    log: "end 0 expired",
    steps: ended("expired", "queued", { withdrawal: "expired", removal: true }),
  },
  {
    edge: "expired in the queue",
    from: "queued",
    to: "expired",
    method: "run",
    request: { text: "" },
    timeoutMs: 100,
    isLate: true,
    isLeft: true,
    log: "end 1 expired",
    steps: [
      {
        name: "end of a worker",
        by: "worker",
        matches: entry("end"),
        before: "attempt 2, end 2 expired",
        states: ["queued", "expired"],
      },
      acked("+ACK"),
    ],
  },
  {
    edge: "expired while it runs",
    from: "running",
    to: "expired",
    method: "run",
    request: { text: "hang" },
    timeoutMs: 3_000,
    isLeft: true,
    log: "attempt 1, end 1 expired",
    steps: [
      {
        name: "end",
        by: "worker",
        matches: entry("end"),
        before: "attempt 1, attempt 2, end 2 expired",
        states: ["running", "expired"],
      },
      acked("+ACK"),
    ],
  },
  {
    edge: "expired between attempts",
    from: "retrying",
    to: "expired",
    method: "run",
    request: { text: "rest", count: 20_000 },
    timeoutMs: 2_500,
    log: "retry 1, end 1 expired",
    steps: ended("expired", "retrying", { withdrawal: "expired" }),
  },
  {
    edge: "replayed",
    from: "failed",
    to: "queued",
    method: "run",
    request: { text: "broken" },
    act: { state: "failed", command: "replay" },
    log: "succeeded",
    steps: [
      {
        name: "purge",
        by: "client",
        matches: api("STREAM.PURGE.EDGE_LOG", ({ id }) => `.${id}.entry`),
        states: ["failed", undefined],
      },
      {
        name: "request",
        by: "client",
        // Not the one that it was submitted with.
        matches: (frame, row) => row.letter !== undefined && isOf("queue")(frame, row),
        states: [undefined, "queued"],
      },
      {
        name: "removal",
        by: "client",
        matches: api("STREAM.MSG.DELETE.EDGE_DEAD", ({ letter }) => `"seq":${letter},`),
      },
    ],
  },
  {
    edge: "buried",
    from: "queued",
    to: "failed",
    method: "run",
    request: { text: "" },
    isStray: true,
    log: "end 0 failed",
    steps: [
      { name: "end", by: "client", matches: entry("end") },
      { name: "dead letter", by: "client", matches: isOf("dead") },
      {
        name: "removal",
        by: "client",
        matches: api("STREAM.MSG.DELETE.EDGE", () => '"seq":1,'),
      },
    ],
  },
];
