import { Code, ConnectError } from "@connectrpc/connect";
import { type Msg, nanos } from "@nats-io/nats-core";
import { queueOfDue } from "../ledger/call-search.js";
import { copyRequestHeaders } from "../ledger/dead-letter.js";
import { getLast, neverFits, SequenceConflict } from "../link/jetstream.js";
import type { Link } from "../link/link.js";
import { provisionMissing, publishInto } from "../link/provision.js";
import { Header } from "../message/header.js";
import { defectOf } from "../message/readable.js";
import type { MethodBinding, ServiceBinding } from "../schema/binding.js";
import { buryRequest } from "./bury-request.js";
import type { Logger } from "./log.js";
import { Puller } from "./puller.js";

/** Calls that are moved at once. */
const concurrency = 64;

/** Wait before a call is offered again to a queue that is full, in ms. */
const retryMs = 1_000;

/** Moves calls of a method whose time has come to their queues. */
export function createDueMover(link: Link, method: MethodBinding, log: Logger): Puller {
  const { service } = method;
  const giveBack = async (message: Msg) => {
    link.publish(message.reply ?? "", `-NAK ${JSON.stringify({ delay: nanos(retryMs) })}`);
  };
  return new Puller(link, concurrency, {
    stream: service.laterStream,
    consumer: method.consumer,
    async run(message) {
      if (!isOwn(service, message)) {
        log({ level: "error", message: `${message.subject} was scheduled for another call` });
        link.publish(message.reply ?? "", "+TERM");
        return;
      }
      try {
        await moveOrBury(link, method, log, message);
      } catch (error) {
        log({ level: "warn", message: "a call that is due could not be queued yet", error });
        if (link.connected) {
          await giveBack(message);
        }
      }
    },
    giveBack,
    refused: () =>
      provisionMissing(link, service, [method]).catch((error) =>
        log({ level: "error", message: "calls that are due are not handed out", error }),
      ),
  });
}

/** A call that no queue will ever take ends: it would be offered for ever. */
async function moveOrBury(link: Link, method: MethodBinding, log: Logger, message: Msg) {
  const { service } = method;
  try {
    const defect = defectOf(message);
    if (defect) {
      const text = `the request cannot be read: ${defect}`;
      throw new ConnectError(text, Code.InvalidArgument);
    }
    await move(link, service, message);
    link.publish(message.reply ?? "", "+ACK");
  } catch (error) {
    if (!neverFits(error)) {
      throw error;
    }
    const subject = queueOfDue(service.prefix, message.subject);
    await buryRequest(link, method, log, subject, message, error as ConnectError);
  }
}

async function move(link: Link, service: ServiceBinding, message: Msg): Promise<void> {
  const subject = queueOfDue(service.prefix, message.subject);
  const headers = copyRequestHeaders(message)
    .add(Header.replay, 1)
    .add(Header.expectedLastSubjectSequence, 0);
  const accepted = message.headers?.get(Header.accepted);
  if (accepted) {
    // It was due before, and forgotten.
    headers.add(Header.accepted, accepted);
  }
  try {
    await publishInto(link, service, subject, message.data, headers);
  } catch (error) {
    // It is there already when its acknowledgement was lost.
    const isTaken = error instanceof SequenceConflict;
    if (!(isTaken && (await getLast(link, service.stream, subject)))) {
      throw error;
    }
  }
}

/**
 * True when a call became due by its own schedule. The server says whose it was; a
 * schedule may name any target, and permissions do not bind it to its owner.
 */
function isOwn({ prefix }: ServiceBinding, { subject, headers }: Msg): boolean {
  const [, ...call] = subject.slice(`${prefix}.due.`.length).split(".");
  return headers?.get(Header.scheduler) === `${prefix}.later.${call.join(".")}`;
}
