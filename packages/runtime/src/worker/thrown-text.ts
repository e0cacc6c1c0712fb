import { cutText } from "../message/text.js";
import { attempt, textOf } from "../message/thrown.js";

/** Most bytes of the text of what was thrown. */
const maxBytes = 8 * 1024;

/** Whatever was thrown, for whoever has to find the bug: its text, and its stack if it has one. Never throws. */
export function textWithStack(thrown: unknown): string {
  const text = textOf(thrown);
  const stack = attempt(() => (thrown instanceof Error ? String(thrown.stack ?? "") : ""), "");
  const whole = stack === "" || stack.includes(text) ? stack || text : `${text}\n${stack}`;
  return cutText(whole, maxBytes);
}
