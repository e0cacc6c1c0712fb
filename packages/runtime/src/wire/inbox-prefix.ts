import { Code, ConnectError } from "@connectrpc/connect";

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
