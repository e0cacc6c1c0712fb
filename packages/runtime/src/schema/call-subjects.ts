import type { MethodBinding, Queue, ServiceBinding } from "./binding.js";
import type { CallName } from "./call-id.js";

/** Subject on which a call is queued. */
export function queueSubjectOf({ subject }: Pick<Queue, "subject">, { suffix }: CallName): string {
  return `${subject}.${suffix}`;
}

/** Subject on which a call waits for its time. */
export function laterSubjectOf({ laterSubject }: MethodBinding, { suffix }: CallName): string {
  return `${laterSubject}.${suffix}`;
}

/** Subject on which a call waits for being queued when its time has come: `<prefix>.due.<queue>.<Method>`, then the call. */
export function dueSubjectOf(
  { service: { prefix } }: MethodBinding,
  { subject }: Pick<Queue, "subject">,
  { suffix }: CallName,
): string {
  return `${prefix}.due${subject.slice(prefix.length)}.${suffix}`;
}

/** The queue subject of a call that is due; of a call that is queued, its own. */
export function queueSubjectOfDue({ prefix }: ServiceBinding, subject: string): string {
  return subject.startsWith(`${prefix}.due.`)
    ? prefix + subject.slice(`${prefix}.due`.length)
    : subject;
}

/** The `later` subject of a call that is due. */
export function laterSubjectOfDue({ prefix }: ServiceBinding, subject: string): string {
  const [, ...methodAndCall] = subject.slice(`${prefix}.due.`.length).split(".");
  return `${prefix}.later.${methodAndCall.join(".")}`;
}

/** Subject of the entries of a call's log. */
export function entrySubjectOf(
  { logSubject }: Pick<MethodBinding, "logSubject">,
  { suffix }: CallName,
): string {
  return `${logSubject}.${suffix}.entry`;
}

/** Subject of the last progress that a call reported. */
export function progressSubjectOf({ progressSubject }: MethodBinding, { suffix }: CallName) {
  return `${progressSubject}.${suffix}.progress`;
}

/** Subject of all that the log of a call and its progress accept, as it happens. */
export function liveSubjectOf({ liveSubject }: MethodBinding, { suffix }: CallName): string {
  return `${liveSubject}.${suffix}.*`;
}

/** Subject of a dead letter. */
export function deadSubjectOf(
  { deadSubject }: Pick<MethodBinding, "deadSubject">,
  { suffix }: Pick<CallName, "suffix">,
): string {
  return `${deadSubject}.${suffix}`;
}

/**
 * Subject of the text of what a handler threw, beside the dead letter: the caller of a call
 * may read that, and not this text. No owner is called so.
 */
export function causeSubjectOf(
  { deadSubject }: Pick<MethodBinding, "deadSubject">,
  { suffix }: Pick<CallName, "suffix">,
): string {
  return `${deadSubject}.$cause.${suffix}`;
}

/** Name of the method in a subject of a call: `<prefix>.<kind>.<Method>`, then the call. */
export function methodNameOf({ prefix }: ServiceBinding, subject: string): string {
  return subject.slice(prefix.length + 1).split(".")[1] ?? "";
}
