import { type Msg, nanos } from "@nats-io/nats-core";
import type { ServiceBinding } from "../wire/binding.js";
import { queueOfDue } from "../wire/call-search.js";
import { copyRequestHeaders } from "../wire/dead-letter.js";
import { Header } from "../wire/header.js";
import { dueConsumerName } from "../wire/infrastructure.js";
import { getLast, publishStored, SequenceConflict } from "../wire/jetstream.js";
import type { Link } from "../wire/link.js";
import { provision } from "../wire/provision.js";
import type { Logger } from "./log.js";
import { Puller } from "./puller.js";

/** Calls that are moved at once. */
const concurrency = 64;

/** Wait before a call is offered again to a queue that is full, in ms. */
const retryMs = 1_000;

/** Moves calls whose time has come to their queues. */
export function createDueMover(link: Link, service: ServiceBinding, log: Logger): Puller {
  const giveBack = async (message: Msg) => {
    link.nats.publish(message.reply ?? "", `-NAK ${JSON.stringify({ delay: nanos(retryMs) })}`);
  };
  return new Puller(link, concurrency, {
    stream: service.laterStream,
    consumer: dueConsumerName,
    async run(message) {
      try {
        await move(link, service, message);
        link.nats.publish(message.reply ?? "", "+ACK");
      } catch (error) {
        log({ level: "warn", message: "a call that is due could not be queued yet", error });
        if (link.connected) {
          await giveBack(message);
        }
      }
    },
    giveBack,
    refused: () => provision(link, service, []).catch(() => undefined),
  });
}

async function move(link: Link, service: ServiceBinding, message: Msg): Promise<void> {
  const subject = queueOfDue(service.prefix, message.subject);
  const headers = copyRequestHeaders(message)
    .add(Header.replay, 1)
    .add(Header.expectedLastSubjectSequence, 0);
  try {
    await publishStored(link, subject, message.data, headers);
  } catch (error) {
    // It is there already when its acknowledgement was lost.
    const isTaken = error instanceof SequenceConflict;
    if (!(isTaken && (await getLast(link, service.stream, subject)))) {
      throw error;
    }
  }
}
