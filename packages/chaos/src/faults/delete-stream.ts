import { setTimeout as delay } from "node:timers/promises";
import type { NatsServer } from "@jetrpc/testing";
import { connect, type Msg, type NatsConnection } from "@nats-io/transport-node";
import { streamSubjects } from "../stream-subjects.js";

/** Until all servers of a cluster have passed on what they know, in ms. */
const relayMs = 300;

/**
 * Deletes a stream, and returns the subjects of all messages that it had: those that it
 * tells of, and those that it republishes between that and its end. Nothing is returned
 * when it does not exist, or no server answers. Rejects when it may be deleted, and what it
 * had cannot be known for sure.
 */
export async function deleteStream(
  servers: readonly NatsServer[],
  stream: string,
): Promise<ReadonlySet<string>> {
  let nats: NatsConnection | undefined;
  let known: Known | undefined;
  try {
    const urls = servers.map(({ url }) => url);
    nats = await connect({ servers: urls, timeout: 5_000, reconnect: false });
    known = await look(nats, stream);
  } catch {
    // No server is there, or it has other things to do: then nothing is deleted.
  }
  try {
    return nats && known ? await deleteBy(nats, stream, known) : new Set();
  } finally {
    await nats?.close();
  }
}

/** The messages of a stream up to a sequence, and those that it stores from then on. */
interface Known {
  readonly subjects: ReadonlySet<string>;
  readonly lastSequence: number;
  readonly later: readonly Stored[];
}

/** Undefined when there is no such stream. */
async function look(nats: NatsConnection, stream: string): Promise<Known | undefined> {
  const before = await streamSubjects(nats, stream, "none");
  if (!before) {
    return undefined;
  }
  const { config } = before;
  const republish = config.republish ?? { src: ">", dest: `copy.${stream}.>` };
  if (!config.republish) {
    const update = JSON.stringify({ ...config, republish });
    succeed(await nats.request(`$JS.API.STREAM.UPDATE.${stream}`, update, { timeout: 5_000 }));
  }
  const later: Stored[] = [];
  nats.subscribe(republish.dest, { callback: (_, message) => note(later, message) });
  await nats.flush();
  const after = await streamSubjects(nats, stream);
  return after && { subjects: after.subjects, lastSequence: after.lastSequence, later };
}

async function deleteBy(
  nats: NatsConnection,
  stream: string,
  { subjects, lastSequence, later }: Known,
): Promise<ReadonlySet<string>> {
  succeed(await nats.request(`$JS.API.STREAM.DELETE.${stream}`, "", { timeout: 30_000 }));
  await delay(relayMs);
  await nats.flush();
  const all = new Set(subjects);
  // In no order: a server republishes for all its clients at once.
  for (const { sequence, subject } of later) {
    if (sequence > lastSequence) {
      all.add(subject);
    } else if (sequence === 1) {
      // A stream has taken its place.
      break;
    }
  }
  return all;
}

interface Stored {
  readonly sequence: number;
  readonly subject: string;
}

function note(stored: Stored[], message: Msg): void {
  try {
    stored.push({
      sequence: Number(message.headers?.get("Nats-Sequence")),
      subject: message.headers?.get("Nats-Subject") ?? "",
    });
  } catch {
    // A header that nobody can read is of no call that counts.
  }
}

function succeed(reply: Msg): void {
  const { error } = reply.json<{ error?: { description: string } }>();
  if (error) {
    throw new Error(error.description);
  }
}
