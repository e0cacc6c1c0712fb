import type { CallName } from "./message.js";

/** `<owner>.<session>.<id>` of a call: its place in every subject. */
function suffixOf({ callId }: Pick<CallName, "callId">): string {
  return callId.includes(".") ? `_.${callId}` : `_._.${callId}`;
}

/** The name of a call in this program: `<Method>.<owner>.<session>.<id>`. */
export function callKey(call: CallName): string {
  return `${call.method}.${suffixOf(call)}`;
}

/**
 * The call of a subject of its service: `<prefix>.<kind>.<Method>.<owner>.<session>.<id>`
 * and nothing, `.entry` or `.progress`. The kind of a call that is due has two tokens.
 */
export function callKeyOf(subject: string): string {
  return subject
    .replace(/\.(entry|progress)$/, "")
    .split(".")
    .slice(-4)
    .join(".");
}

/** The call that a key names. */
export function callOf(key: string): CallName {
  const [method = "", , session = "", id = ""] = key.split(".");
  return { method, callId: session === "_" ? id : `${session}.${id}` };
}
