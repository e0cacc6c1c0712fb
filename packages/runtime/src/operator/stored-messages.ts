import { type Connection, internalsOf } from "../connection.js";
import { openQueue } from "../link/backward-reader.js";
import type { RequestHeaders } from "../link/observer.js";

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

/**
 * Reads the messages of a stream whose subjects fit, `batch` at once, from a sequence on; none
 * where there is no such stream. It needs no consumer, which a work queue does not allow, and
 * reads what other clients have written amiss.
 *
 * Errors: PermissionDenied, Unavailable.
 */
export async function* storedMessages(
  connection: Connection,
  stream: string,
  subject: string,
  { from = 1, batch = 256 } = {},
): AsyncGenerator<MessageInStream, void, undefined> {
  const reader = await openQueue(internalsOf(connection).link, stream, subject, from, batch);
  yield* reader.read();
}
