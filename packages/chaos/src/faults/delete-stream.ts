import { setTimeout as delay } from "node:timers/promises";
import type { NatsServer } from "@jetrpc/testing";
import { connect, type Msg, type NatsConnection } from "@nats-io/transport-node";
import { streamSubjects } from "../stream-subjects.js";

/** Until all servers of a cluster have passed on what they know, in ms. */
const relayMs = 300;

/**
 * Deletes a stream, and returns the subjects of all messages that it had: those that it
 * tells of, and those that it republishes between that and its end. Nothing is returned
 * when it does not exist. Rejects when that cannot be known for sure.
 */
export async function deleteStream(
  servers: readonly NatsServer[],
  stream: string,
): Promise<ReadonlySet<string>> {
  const nats = await connect({
    servers: servers.map(({ url }) => url),
    timeout: 5_000,
    reconnect: false,
  });
  try {
    return await deleteBy(nats, stream);
  } finally {
    await nats.close();
  }
}

async function deleteBy(nats: NatsConnection, stream: string): Promise<ReadonlySet<string>> {
  const before = await streamSubjects(nats, stream, "none");
  if (!before) {
    return new Set();
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
  const known = await streamSubjects(nats, stream);
  if (!known) {
    throw new Error(`${stream} was deleted by someone else`);
  }
  succeed(await nats.request(`$JS.API.STREAM.DELETE.${stream}`, "", { timeout: 10_000 }));
  await delay(relayMs);
  await nats.flush();
  const subjects = new Set(known.subjects);
  let last = 0;
  for (const { sequence, subject } of later) {
    if (sequence <= last) {
      // It is of the stream that has taken its place.
      break;
    }
    last = sequence;
    subjects.add(subject);
  }
  return subjects;
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
