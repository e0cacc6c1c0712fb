import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { mayBeAsked, type Row, rowsOf, type Seen, Stage } from "./edge-stage.js";
import { logAfter, outcomeOf, type Party } from "./edges.js";
import { StrayStage } from "./stray-stage.js";

const parties: Party[] = ["client", "worker", "server"];

/** What an outcome is for who waits. */
const ends: Record<string, string> = {
  succeeded: "done",
  failed: "InvalidArgument",
  cancelled: "Canceled",
  expired: "DeadlineExceeded",
  // Never accepted.
  "": "NotFound",
};

describe.each(parties)("kill -9 of the %s", (party) => {
  const rows = rowsOf(party);
  const stage = new Stage(party, rows);
  let seen: Map<Row, Seen>;

  beforeAll(async () => {
    seen = await stage.run();
  });
  afterAll(() => stage.close());

  test.each(rows.map((row) => [row.scenario.edge, row.when, row.step.name, row.id, row] as const))(
    "%s: %s %s (%s)",
    (_edge, _when, _step, _id, row) => {
      const { scenario, step, when } = row;
      const call = seen.get(row) as Seen;
      expect(call.isCaught, "was caught").toBe(true);
      if (step.states && mayBeAsked(row)) {
        const state = step.states[when === "before" ? 0 : 1];
        // A first attempt is not announced at once.
        expect(state === "running" ? ["running", "queued"] : [state]).toContain(call.state);
      }
      const log = logAfter(party, row);
      const outcome = outcomeOf(log);
      const found = log.includes(" ") ? withoutClaims(call.log) : outcomeOf(call.log);
      expect([found, ...withoutRepeats(found)]).toContain(log);
      expect(findDisorder(call.log)).toBeUndefined();
      const end = scenario.edge === "given up" ? "Internal" : ends[outcome];
      expect(call.attached).toBe(scenario.method === "flow" ? `${end} 0 1 2` : end);
      if (call.waited !== undefined) {
        expect(call.waited).toBe(`follow ${row.id}: ${call.attached}`);
      }
      expect(call.isDeadLetter).toBe(outcome === "failed");
      if (log.startsWith("end 0")) {
        expect(call.runs).toBe(0);
      }
    },
  );

  test("nothing is left in the queue", async () => {
    expect(await stage.queued()).toBe(0);
  });
});

describe.each(parties)("kill -9 of the %s", (party) => {
  test.concurrent.each(
    rowsOf(party, true).map((row) => [row.scenario.edge, row.when, row.step.name, row] as const),
  )("%s: %s %s", async (_edge, _when, _step, row) => {
    await using stage = await StrayStage.open(row);
    expect(await stage.run(party)).toEqual({
      log: row.scenario.log,
      letter: expect.any(Number),
      queued: 0,
    });
  });
});

function withoutClaims(log: string): string {
  return log.replace(/(attempt \d+) \d+ \d+/g, "$1");
}

/**
 * The same log with one attempt less, and so on: on a busy machine one that is held up
 * for long is taken over by another one.
 */
function withoutRepeats(log: string): string[] {
  const entries = log.split(", ").map((text) => text.split(" "));
  return entries.flatMap(([kind, attempt], index) => {
    const next = entries[index + 1];
    if (kind !== "attempt" || next?.[0] !== "attempt" || Number(next[1]) !== Number(attempt) + 1) {
      return [];
    }
    const rest = entries
      .filter((_, i) => i !== index)
      .map(([name = "", number = "", ...more]) =>
        [name, Number(number) > Number(attempt) ? Number(number) - 1 : number, ...more].join(" "),
      );
    return [rest.join(", "), ...withoutRepeats(rest.join(", "))];
  });
}

/** The first entry of a log that may not follow those before it. */
function findDisorder(log: string): string | undefined {
  let [attempt, request, delivery, last] = [0, 0, 0, ""];
  return log.split(", ").find((text) => {
    const [kind = "", ...numbers] = text.split(" ");
    const [next = 0, ofRequest = 0, ofDelivery = 0] = numbers.map(Number);
    const isLater = ofRequest > request || (ofRequest === request && ofDelivery > delivery);
    const isRight = {
      "": true,
      attempt: next > attempt && isLater,
      end: next >= attempt,
      message: next >= attempt && !["retry", "release"].includes(last),
      retry: next >= attempt && !["retry", "release"].includes(last),
      release: next >= attempt && last !== "release",
    }[kind];
    attempt = next;
    [request, delivery] = kind === "attempt" ? [ofRequest, ofDelivery] : [request, delivery];
    const isOver = last === "end";
    last = kind;
    return isOver || !isRight;
  });
}
