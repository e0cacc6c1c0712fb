import type { ServiceBinding } from "../schema/binding.js";

/**
 * False where a reply would be more than a reply: whoever asks names its subject, and
 * a worker may publish what callers may not, requests and logs of its service.
 *
 * False, too, for what JetStream sends: a user may have it sent to any subject. A
 * consumer's message asks for its acknowledgement, one that is read for nothing.
 */
export function isReplySubject(
  { prefix }: ServiceBinding,
  subject: string | undefined,
): subject is string {
  return !!subject && !subject.startsWith("$") && !subject.startsWith(`${prefix}.`);
}
