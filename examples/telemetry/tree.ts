import type { SentSpan } from "./sdk.js";

/**
 * A trace as a tree, a span a line. A process that was killed gave none of its open spans away:
 * one is known by its children, and by the attempt after it.
 */
export function toTree(spans: readonly SentSpan[]): string {
  const known = new Set(spans.map(({ id }) => id));
  const lost = new Map<string, SentSpan>();
  for (const span of spans) {
    const before = span.attemptBefore;
    if (before !== undefined && !known.has(before)) {
      lost.set(before, span);
    }
  }
  const all = [...spans];
  for (const [id, next] of lost) {
    const children = spans.filter(({ parent }) => parent === id);
    all.push({
      ...next,
      id,
      process: "?",
      name: "(a span that never ended: its process was killed)",
      beganAtMs: Math.min(next.beganAtMs, ...children.map(({ beganAtMs }) => beganAtMs)) - 1,
      ms: Number.NaN,
      outcome: undefined,
    });
  }
  const below = (parent: string | undefined, indent: string): string[] =>
    all
      .filter((span) => span.parent === parent)
      .sort((a, b) => a.beganAtMs - b.beganAtMs)
      .flatMap(({ process, name, outcome, ms, id }) => {
        const text = [name, outcome, Number.isNaN(ms) ? undefined : `${ms.toFixed(1)} ms`];
        const line = text.filter((part) => part !== undefined).join(" ");
        return [`${process.padEnd(10)}${indent}${line}`, ...below(id, `${indent}  `)];
      });
  return below(undefined, "").join("\n");
}
