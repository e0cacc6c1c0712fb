import type { ServiceBinding } from "../schema/binding.js";

/**
 * False where a reply would be more than a reply: the caller names its subject, and a worker
 * may publish what callers may not, requests and logs of its service.
 *
 * False, too, for subjects of JetStream: a user may have a consumer's messages sent to any
 * subject, and each asks for its acknowledgement, which a worker must not give.
 */
export function isReplySubject(
  { prefix }: ServiceBinding,
  subject: string | undefined,
): subject is string {
  return (
    !!subject &&
    !subject.startsWith("$") &&
    !(subject.startsWith(prefix) && subject[prefix.length] === ".")
  );
}
