import type { ConnectError } from "@connectrpc/connect";
import { type Msg, nuid } from "@nats-io/nats-core";
import { buryCall } from "../ledger/bury-call.js";
import { acceptedAt } from "../ledger/call-search.js";
import { storeDeadLetter } from "../ledger/dead-letter.js";
import type { Link } from "../link/link.js";
import type { MethodBinding } from "../schema/binding.js";
import { anyOwner, parseCallSubject } from "../schema/call-id.js";
import type { Logger } from "./log.js";

/**
 * Makes a dead letter of a queued message that no worker can run, and removes it from the
 * queue: else it would be given out for ever. A call that it names gets its end; where it
 * names none, nobody can wait for it. Errors: those of buryCall().
 */
export async function buryRequest(
  link: Link,
  method: MethodBinding,
  log: Logger,
  /** On which it is queued, or was to be. */
  subject: string,
  request: Msg,
  error: ConnectError,
): Promise<void> {
  const call = parseCallSubject(method.service, subject);
  log({
    level: "error",
    message: call
      ? "a request that cannot be run became a dead letter"
      : "a queued message without call id became a dead letter",
    method: method.desc.toString(),
    ...(call && { callId: call.callId }),
    error,
  });
  if (call) {
    await buryCall(link, method, call, request, error);
  } else {
    const suffix = `${anyOwner}.stray.${nuid.next()}`;
    await storeDeadLetter(link, method, suffix, request, error, 0, acceptedAt(request));
  }
  link.publish(request.reply ?? "", "+TERM");
}
