import type { ConnectError } from "@connectrpc/connect";
import type { Msg } from "@nats-io/nats-core";
import type { Link } from "../link/link.js";
import { decodeStatus } from "../message/status.js";
import type { MethodBinding } from "../schema/binding.js";
import type { CallName } from "../schema/call-id.js";
import { acceptedAt, lastOfAny } from "./call-search.js";
import { type DeadMethod, storeDeadLetter } from "./dead-letter.js";
import { storeEnd } from "./end-entry.js";

/**
 * Ends a call that cannot be run: stores the end of its log, whatever that holds, and
 * then its dead letter. One that has ended otherwise gets none. The request stays where
 * it is. Throws SequenceConflict when an attempt writes meanwhile.
 */
export async function buryCall(
  link: Link,
  method: DeadMethod & Pick<MethodBinding, "logSubject">,
  call: CallName,
  request: Msg,
  error: ConnectError,
): Promise<void> {
  const last = await lastOfAny(link, method, call);
  const hasEnded = last.kind === "end";
  if (hasEnded && last.outcome !== "failed") {
    return;
  }
  if (!hasEnded) {
    await storeEnd(link, method, call, last, request, "failed", error);
  }
  // Who made the end may not have come to store the dead letter.
  const reason = hasEnded && last.message ? decodeStatus(last.message) : error;
  const at = acceptedAt(request);
  await storeDeadLetter(link, method, call.suffix, request, reason, last.attempt, at);
}
