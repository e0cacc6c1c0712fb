import type { Connection } from "@jetrpc/runtime";
import type { ServiceBinding } from "@jetrpc/runtime/schema";
import { describeCall, describeQueues } from "./post-mortem.js";
import type { Failure, Findings } from "./verdict.js";

/** Failures of one reason that are explained. */
const explainedEach = 3;

/** Reasons that are explained. */
const explainedReasons = 20;

/** The length at which a reason is cut, in characters. */
const longestReason = 1_500;

/** Tells what the servers have of what is not as it has to be. */
export async function explain(
  { failures }: Findings,
  connection: Connection,
  binding: ServiceBinding,
  report: (line: string) => void,
): Promise<void> {
  try {
    for (const alike of byReason(failures).slice(0, explainedReasons)) {
      for (const { verdict, call, why } of alike.slice(0, explainedEach)) {
        const name = call ? `${call.method} ${call.callId}: ` : "";
        report(`${verdict}: ${name}${why.slice(0, longestReason)}`);
        const lines = call ? await describeCall(connection.nats, binding, call) : [];
        for (const line of lines) {
          report(`  ${line}`);
        }
      }
      if (alike.length > explainedEach) {
        report(`${alike[0]?.verdict}: and ${alike.length - explainedEach} more for this reason`);
      }
    }
    for (const line of await describeQueues(connection.nats, binding)) {
      report(line);
    }
  } catch (error) {
    report(`the servers cannot be asked: ${error}`);
  }
}

/** Failures with the same words are alike; names and numbers in them do not count. */
function byReason(failures: readonly Failure[]): Failure[][] {
  const groups = new Map<string, Failure[]>();
  for (const failure of failures) {
    const { verdict, why } = failure;
    const reason = `${verdict} ${why.replace(/\S*[\d._]\S*/g, "#").slice(0, 100)}`;
    const group = groups.get(reason) ?? [];
    groups.set(reason, group);
    group.push(failure);
  }
  return [...groups.values()];
}
