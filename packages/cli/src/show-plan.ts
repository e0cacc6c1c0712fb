import type { Difference, PlannedChange, ServicePlan } from "@jetrpc/runtime/operator";
import { showDuration } from "./duration.js";
import { print } from "./output.js";

/** Settings that are durations: JetStream writes them in ns. */
const durations = new Set(["max_age", "duplicate_window", "ack_wait"]);

/** Shows what is to be done, as infrastructure tools do. */
export function printPlan(plan: ServicePlan): void {
  for (const line of planLines(plan)) {
    print(line);
  }
}

/** What is to be done, line by line; none when nothing is. */
export function planLines({ service, changes }: ServicePlan): string[] {
  const lines = changes.flatMap((change) => [
    `  ${mark(change)} ${change.what}${note(change)}`,
    ...[...change.differences.map(showDifference), ...change.reasons].map(
      (line) => `      ${line}`,
    ),
  ]);
  return lines.length === 0 ? [] : [service, ...lines];
}

/** `2 to create, 1 to change`. */
export function summarize(changes: readonly PlannedChange[]): string {
  const words = {
    create: "to create",
    change: "to change",
    destructive: "destructive",
    impossible: "impossible",
  };
  return Object.entries(words)
    .map(([kind, word]) => [changes.filter((change) => change.kind === kind).length, word] as const)
    .filter(([count]) => count > 0)
    .map(([count, word]) => `${count} ${word}`)
    .join(", ");
}

function mark({ kind, differences }: PlannedChange): string {
  switch (kind) {
    case "create":
      return "+";
    case "change":
      return "~";
    case "destructive":
      return differences.length > 0 ? "!" : "-";
    case "impossible":
      return "x";
  }
}

function note({ kind }: PlannedChange): string {
  return kind === "destructive" || kind === "impossible" ? ` (${kind})` : "";
}

/** `max_age: 7d -> 14d`. */
export function showDifference({ field, from, to }: Difference): string {
  return `${field}: ${showSetting(field, from)} -> ${showSetting(field, to)}`;
}

/** A setting of a stream or a consumer: durations are in ns there. */
export function showSetting(field: string, value: unknown): string {
  if (durations.has(field) && typeof value === "number") {
    return value === 0 ? "no limit" : showDuration(value / 1e6);
  }
  return value === undefined ? "not set" : JSON.stringify(value);
}
