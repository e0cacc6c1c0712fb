import { Code, ConnectError } from "@connectrpc/connect";
import type { MethodBinding } from "../wire/binding.js";
import type { CallName } from "../wire/call-id.js";
import { type Entry, entrySubject, formatEntry, type Outcome } from "../wire/call-log.js";
import { acceptedAt, findCall, notFound } from "../wire/call-search.js";
import { Header, HeaderBlock } from "../wire/header.js";
import { publishStored, untilAnswered } from "../wire/jetstream.js";
import type { Link } from "../wire/link.js";
import { encodeStatus } from "../wire/status.js";

/** How long what withdraws a request stays in its place, in s. */
const withdrawnSeconds = 1;

/**
 * Ends a call from outside: its log gets its end, unless it has one. A queued
 * call never runs then, and a running one is told.
 *
 * Returns the end that was there already, undefined when this made the end.
 * Errors: NotFound; Unavailable.
 */
export function endCall(
  link: Link,
  method: MethodBinding,
  call: CallName,
  outcome: Outcome & ("cancelled" | "expired"),
): Promise<Entry | undefined> {
  // Whoever writes meanwhile makes it look again.
  return untilAnswered(link, () => tryToEnd(link, method, call, outcome));
}

async function tryToEnd(
  link: Link,
  method: MethodBinding,
  call: CallName,
  outcome: "cancelled" | "expired",
): Promise<Entry | undefined> {
  const found = await findCall(link, method, call);
  if (!found) {
    throw notFound(method, call);
  }
  const { last, request } = found;
  if (last?.kind === "end") {
    return last;
  }
  const error =
    outcome === "cancelled"
      ? new ConnectError("the call was canceled", Code.Canceled)
      : new ConnectError("the call did not end within its time", Code.DeadlineExceeded);
  const headers = new HeaderBlock().add(
    Header.entry,
    formatEntry("end", last?.attempt ?? 0, outcome),
  );
  headers.add(Header.expectedLastSubjectSequence, last?.sequence ?? 0);
  const digest = request?.headers?.get(Header.digest);
  if (digest) {
    headers.add(Header.digest, digest);
  }
  if (request) {
    headers.add(Header.accepted, acceptedAt(request));
  }
  const { payload } = encodeStatus(error, headers);
  await publishStored(link, entrySubject(method, call), payload, headers);
  // Whoever runs it looks at the log. Without the message it finds out when it writes.
  link.cancel(method.cancelSubject, call.suffix);
  const subject = request?.headers?.get(Header.subject);
  if (subject) {
    withdraw(link, subject);
  }
  return undefined;
}

/**
 * Takes a request out of its queue: what takes its place is removed by the server.
 * Nobody waits for that, as the log has the call's end.
 */
function withdraw(link: Link, subject: string): void {
  const headers = new HeaderBlock()
    .add(Header.withdrawn, 1)
    .add(Header.rollup, "sub")
    .add(Header.ttl, `${withdrawnSeconds}s`);
  if (link.connected) {
    link.nats.publish(subject, undefined, { headers: headers.asHeaders() });
  }
}
