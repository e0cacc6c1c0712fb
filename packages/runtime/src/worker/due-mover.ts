import { Code, ConnectError } from "@connectrpc/connect";
import { isDueByItself, queueDue } from "../ledger/later.js";
import { DeliveredRequest } from "../ledger/stored-request.js";
import { neverFits } from "../link/jetstream-error.js";
import type { Link } from "../link/link.js";
import { provisionMissing } from "../link/provision.js";
import type { MethodBinding } from "../schema/binding.js";
import { buryRequest } from "./bury-request.js";
import type { Pulled } from "./lane.js";
import type { Logger } from "./logger.js";
import { Puller } from "./puller.js";

/** Calls that are moved at once. */
const concurrency = 64;

/** Wait before a call is offered again to a queue that is full, in ms. */
const retryMs = 1_000;

/** Moves calls of a method whose time has come to their queues. */
export function createDueMover(link: Link, method: MethodBinding, log: Logger): Puller {
  const { service } = method;
  const due: Pulled = {
    stream: service.laterStream,
    consumer: method.consumer,
    async run(message) {
      const request = new DeliveredRequest(link, message);
      if (!isDueByItself(service, request)) {
        log({ level: "error", message: `${request.subject} was scheduled for another call` });
        request.terminate();
        return;
      }
      try {
        await moveOrBury(link, method, log, request);
      } catch (error) {
        log({ level: "warn", message: "a call that is due could not be queued yet", error });
        request.giveBack(retryMs);
      }
    },
    async giveBack(message) {
      new DeliveredRequest(link, message).giveBack(retryMs);
    },
    refused: () =>
      provisionMissing(link, service, [method]).catch((error) =>
        log({ level: "error", message: "calls that are due are not handed out", error }),
      ),
  };
  return new Puller(link, concurrency, [due]);
}

/** A call that no queue will ever take ends: it would be offered for ever. */
async function moveOrBury(
  link: Link,
  method: MethodBinding,
  log: Logger,
  request: DeliveredRequest,
): Promise<void> {
  try {
    if (request.defect) {
      const text = `the request cannot be read: ${request.defect}`;
      throw new ConnectError(text, Code.InvalidArgument);
    }
    await queueDue(link, method.service, request);
    request.acknowledge();
  } catch (error) {
    if (!neverFits(error)) {
      throw error;
    }
    await buryRequest(link, method, log, request, error as ConnectError);
  }
}
