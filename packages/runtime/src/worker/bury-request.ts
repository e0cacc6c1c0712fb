import type { ConnectError } from "@connectrpc/connect";
import { buryCall, buryStray } from "../ledger/dead-letters.js";
import type { DeliveredRequest } from "../ledger/stored-request.js";
import type { Link } from "../link/link.js";
import type { MethodBinding } from "../schema/binding.js";
import type { Logger } from "./logger.js";

/**
 * Makes a dead letter of a request that no worker can run, and removes it from its
 * queue: else it would be given out for ever. A call that it names gets its end; where it
 * names none, nobody can wait for it. Errors: those of buryCall().
 */
export async function buryRequest(
  link: Link,
  method: MethodBinding,
  log: Logger,
  request: DeliveredRequest,
  error: ConnectError,
): Promise<void> {
  const call = request.callOf(method.service);
  log({
    level: "error",
    message: call
      ? "a request that cannot be run became a dead letter"
      : "a queued message without call id became a dead letter",
    method: method.desc.toString(),
    ...(call && { callId: call.callId }),
    error,
  });
  await (call
    ? buryCall(link, method, call, request, error)
    : buryStray(link, method, request, error));
  request.terminate();
}
