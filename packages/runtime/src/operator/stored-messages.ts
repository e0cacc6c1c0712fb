import { type Connection, internalsOf } from "../connection.js";
import { openQueue } from "../link/backward-reader.js";
import type { RequestHeaders } from "../link/observer.js";
import type { StoredMessage } from "../link/stored-message.js";

/** A message as a stream gives it out. The headers of a server stand behind those of its writer. */
export type MessageInStream = Omit<StoredMessage, "message" | "headers"> & {
  readonly headers?: RequestHeaders | undefined;
};

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
