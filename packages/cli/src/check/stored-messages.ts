import { Code, ConnectError, type Connection } from "@jetrpc/runtime";
import { apiPrefix } from "@jetrpc/runtime/schema";
import type { Msg } from "@nats-io/nats-core";
import { isNoResponders, requestError } from "../request-error.js";

/** So many messages are asked for at once. */
const batch = 256;

/** So long a server may take for them, in ms. */
const maxWaitMs = 30_000;

/** A message as a stream keeps it. */
export interface StoredMessage {
  readonly subject: string;
  readonly storedAtMs: number;
  readonly data: Uint8Array;
  /** A header, or undefined. */
  header(name: string): string | undefined;
}

/**
 * Reads the messages of a stream whose subjects fit, from the first one on; none where there is no
 * such stream. A work queue has no other way to be looked at.
 *
 * Errors: PermissionDenied, Unavailable.
 */
export async function* storedMessages(
  connection: Connection,
  stream: string,
  filter: string,
): AsyncGenerator<StoredMessage> {
  const { nats, domain } = connection;
  const own = (nats.info as { readonly domain?: string } | undefined)?.domain;
  const subject = `${apiPrefix(domain, own)}DIRECT.GET.${stream}`;
  for (let from = 1; ; ) {
    const body = JSON.stringify({ seq: from, next_by_subj: filter, batch });
    let isComplete = false;
    let pending = 0;
    const read: Msg[] = [];
    try {
      const replies = await nats.requestMany(subject, body, {
        strategy: "timer",
        maxWait: maxWaitMs,
      });
      for await (const reply of replies) {
        const status = reply.headers?.code ?? 0;
        isComplete = status !== 0;
        if (isComplete) {
          pending = Number(reply.headers?.get("Nats-Num-Pending")) || 0;
          break;
        }
        read.push(reply);
      }
    } catch (cause) {
      if (isNoResponders(cause)) {
        // There is no such stream: nobody has stored anything.
        return;
      }
      throw requestError(subject, cause);
    }
    if (!isComplete) {
      throw new ConnectError(`stream ${stream} does not answer`, Code.Unavailable);
    }
    for (const message of read) {
      from = Number(message.headers?.get("Nats-Sequence")) + 1;
      yield {
        subject: message.headers?.get("Nats-Subject") ?? "",
        storedAtMs: Date.parse(message.headers?.get("Nats-Time-Stamp") ?? ""),
        data: message.data,
        header: (name) => message.headers?.get(name) || undefined,
      };
    }
    // Where messages are large the server sends fewer at once, and says that more follow.
    if (read.length === 0 || pending === 0) {
      return;
    }
  }
}
