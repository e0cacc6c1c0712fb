import { type Connection, internalsOf } from "../connection.js";
import { openQueue } from "../link/backward-reader.js";
import { getNext } from "../link/jetstream.js";
import type { RequestHeaders } from "../link/observer.js";
import { until } from "../link/until.js";

/** A message as a stream gives it out. */
export interface MessageInStream {
  /** The subject on which it is stored. */
  readonly subject: string;
  /** Its sequence in the stream. */
  readonly sequence: number;
  /** When it was stored, by the server's clock, in ms since 1970. */
  readonly storedAtMs: number;
  readonly data: Uint8Array;
  /** Those that the server adds stand behind those of its writer. */
  readonly headers: RequestHeaders | undefined;
}

/** Messages that {@link storedMessages} asks for at once. */
const batch = 256;

/**
 * Reads the messages of a stream whose subjects fit; none where there is no such stream. It needs
 * no consumer, which a work queue does not allow, and reads what other clients have written amiss.
 *
 * Errors: PermissionDenied, Unavailable.
 */
export async function* storedMessages(
  connection: Connection,
  stream: string,
  subject: string,
): AsyncGenerator<MessageInStream, void, undefined> {
  const reader = await openQueue(internalsOf(connection).link, stream, subject, 1, batch);
  yield* reader.read();
}

/**
 * Reads the first of these messages from a sequence on; undefined where there is none. One server
 * of several answers: where none does within 2 s, it is asked for again, until `timeoutMs` are over.
 *
 * Errors: PermissionDenied, Unavailable, DeadlineExceeded.
 */
export function firstMessage(
  connection: Connection,
  stream: string,
  subject: string,
  from: number,
  timeoutMs: number,
): Promise<MessageInStream | undefined> {
  const { link } = internalsOf(connection);
  return until(link, () => getNext(link, stream, subject, from), { timeoutMs });
}
