import type { Difference, PlannedChange, ServicePlan } from "@jetrpc/runtime/operator";
import { print } from "./output.js";

/** Settings that are durations: JetStream writes them in ns. */
const durations = new Set(["max_age", "duplicate_window", "ack_wait"]);

/** Shows what is to be done, as infrastructure tools do. */
export function printPlan({ service, changes }: ServicePlan): void {
  if (changes.length === 0) {
    return;
  }
  print(service);
  for (const change of changes) {
    print(`  ${mark(change)} ${change.what}${note(change)}`);
    for (const line of [...change.differences.map(showDifference), ...change.reasons]) {
      print(`      ${line}`);
    }
  }
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
  return `${field}: ${show(field, from)} -> ${show(field, to)}`;
}

function show(field: string, value: unknown): string {
  if (durations.has(field) && typeof value === "number") {
    return value === 0 ? "no limit" : showDuration(value / 1e6);
  }
  return value === undefined ? "not set" : JSON.stringify(value);
}

const units = [
  ["d", 86_400_000],
  ["h", 3_600_000],
  ["m", 60_000],
  ["s", 1_000],
  ["ms", 1],
] as const;

/** `7d`, `90m`, `1500ms`: in the largest unit that it is a whole number of. */
function showDuration(ms: number): string {
  const [unit, size] = units.find(([, each]) => ms % each === 0) ?? ["ms", 1];
  return `${ms / size}${unit}`;
}
