import { Code, ConnectError } from "@connectrpc/connect";
import { createSecret } from "./secret.js";

/** First token of the inboxes of all users, where nothing else is asked for. */
export const inboxRoot = "_INBOX";

/** Checks what the subjects of replies begin with. Throws Code.InvalidArgument. */
export function checkInboxPrefix(prefix: string): string {
  if (!/^[^\s.*>\p{Cc}]+(\.[^\s.*>\p{Cc}]+)*$/u.test(prefix)) {
    throw new ConnectError(
      `inbox prefix "${prefix}" must be tokens joined by single dots, without spaces and without the wildcards "*" and ">": correct NATS_INBOX_PREFIX, or inboxPrefix`,
      Code.InvalidArgument,
    );
  }
  return prefix;
}

/**
 * Makes a subject for messages that come by a subscription of its own. Workers may
 * publish to every inbox, so that nobody must guess it.
 */
export function createInbox(prefix: string = inboxRoot): string {
  return `${prefix}.${createSecret()}`;
}
