import { expect, test } from "vitest";
import type { CallTrace } from "../src/call-trace.js";
import { type Evidence, judge } from "../src/judge.js";

const trace: CallTrace = { ends: ["succeeded"], attempt: 1, messages: 0, released: [] };

const sound: Evidence = {
  expected: { method: "Try", result: 1, ends: ["succeeded"] },
  trace,
  began: [1],
  maxAttempts: 3,
  isQueued: false,
  isDead: false,
  isLogRemoved: false,
  isLetterRemoved: false,
};

function failedAt(attempt: number): CallTrace {
  return { ...trace, ends: ["failed"], attempt };
}

test.each<[string, Partial<Evidence>, string]>([
  ["succeeded", {}, "done"],
  ["has two ends", { trace: { ...trace, ends: ["failed", "succeeded"] } }, "doubled"],
  ["has a message twice", { trace: { ...trace, disorder: "message 1 is number 2" } }, "doubled"],
  ["ended and is queued", { isQueued: true }, "stuck"],
  ["is nowhere", { trace: undefined }, "lost"],
  ["has another result", { trace: { ...trace, problem: "it is 2" } }, "lost"],
  ["was canceled by nobody", { trace: { ...trace, ends: ["cancelled"] } }, "lost"],
  ["failed with attempts left", { trace: failedAt(2), isDead: true }, "lost"],
  ["failed at its last attempt", { trace: failedAt(3), isDead: true }, "dead"],
  ["failed without dead letter", { trace: failedAt(3) }, "lost"],
  [
    "failed, and an operator deleted its letter",
    { trace: failedAt(3), isLetterRemoved: true },
    "dead",
  ],
  ["succeeded, and has a dead letter", { isDead: true }, "left"],
  ["ran once too often", { began: [1, 2, 3, 4], trace: { ...trace, attempt: 4 } }, "exceeded"],
  ["ran twice as one attempt too often", { began: [1, 2, 2, 3] }, "exceeded"],
  [
    "ran as often as it may beside what was given back",
    { began: [1, 2, 3, 4], trace: { ...trace, attempt: 4, released: [2] } },
    "done",
  ],
  ["lost its log to an operator", { isLogRemoved: true, trace: undefined }, "removed"],
  ["lost its log to an operator, and is queued", { isLogRemoved: true, isQueued: true }, "stuck"],
  ["is known to nobody, and has run", { expected: undefined, trace: undefined }, "lost"],
  ["is known to nobody", { expected: undefined, trace: undefined, began: [] }, "none"],
])("a call that %s", (_, found, verdict) => {
  expect(judge({ ...sound, ...found }).verdict).toBe(verdict);
});
