import type { MessageInitShape } from "@bufbuild/protobuf";
import { Place, type ProblemSchema, Severity } from "./gen/jetrpc/console/v1/console_service_pb.js";
import type { Seen, SeenMethod } from "./sampler.js";
import type { Target } from "./target.js";

export type Problem = MessageInitShape<typeof ProblemSchema> & { severity: Severity };

/** How long a call may wait, where workers are there, before it is told, in ms. */
const longWaitMs = 5 * 60_000;

/** All that is wrong, the worst first. */
export function problemsOf(target: Target, seen: Seen): Problem[] {
  const problems: Problem[] = [];
  if (!target.isConnected) {
    problems.push({
      severity: Severity.ERROR,
      title: `NATS at ${target.address} does not answer`,
      mend: "start it, or look at the network between: the console tries on; figures are those of before",
      place: Place.NONE,
    });
  }
  if (target.schemaProblem !== "") {
    problems.push({
      severity: target.schema ? Severity.WARNING : Severity.ERROR,
      title: target.schema ? "the schema may be out of date" : "no schema: nothing can be shown",
      mend: target.schemaProblem,
      place: Place.NONE,
    });
  }
  for (const [service, count] of seen.drift) {
    if (count > 0) {
      problems.push({
        severity: Severity.WARNING,
        title: `${service}: ${count === 1 ? "a stream or consumer is" : `${count} streams or consumers are`} not as the schema says`,
        mend: "run `jetrpc apply --dry-run`, then `jetrpc apply`",
        place: Place.INFRASTRUCTURE,
        service,
      });
    }
  }
  for (const method of seen.methods) {
    problems.push(...problemsOfMethod(method, seen.at));
  }
  return problems.sort((a, b) => b.severity - a.severity);
}

/** The same of one method. */
export function problemsOfMethod({ figures, entry }: SeenMethod, at: Date): Problem[] {
  const { service = "", method = "", workers = 0, paused = false, slots = 0 } = figures;
  const name = `${service}.${method}`;
  const queued = Number(figures.queued ?? 0n);
  const failed = Number(figures.failed ?? 0n);
  const waitedMs = figures.oldestQueuedAt
    ? at.getTime() - Number(figures.oldestQueuedAt.seconds) * 1000
    : 0;
  const its = { service, method };
  const problems: Problem[] = [];
  if (paused) {
    problems.push({
      severity: queued > 0 ? Severity.WARNING : Severity.NOTE,
      title: queued > 0 ? `${name} is paused, and ${calls(queued)}` : `${name} is paused`,
      mend: "resume it",
      place: Place.METHOD,
      ...its,
    });
  } else if (queued > 0 && workers === 0) {
    problems.push({
      severity: Severity.ERROR,
      title: `${name}: ${calls(queued)}, and no worker serves it`,
      mend: "start a worker that implements the method",
      place: Place.WORKERS,
      ...its,
    });
  } else if (waitedMs > longWaitMs) {
    problems.push({
      severity: Severity.WARNING,
      title: `${name}: a call has waited for ${Math.floor(waitedMs / 60_000)} min`,
      mend: slots > 0 ? "start more workers, or give them more slots" : "start more workers",
      place: Place.METHOD,
      ...its,
    });
  }
  if (entry.failed > 0 || entry.expired > 0) {
    problems.push({
      severity: Severity.ERROR,
      title: `${name}: calls fail now`,
      mend: "look at their errors, correct the cause, and replay them",
      place: Place.DEAD_LETTERS,
      ...its,
    });
  } else if (failed > 0) {
    problems.push({
      severity: Severity.NOTE,
      title: `${name}: ${failed === 1 ? "a call has failed" : `${failed} calls have failed`}`,
      mend: "replay or discard them",
      place: Place.DEAD_LETTERS,
      ...its,
    });
  }
  return problems;
}

function calls(count: number): string {
  return count === 1 ? "a call waits" : `${count} calls wait`;
}
