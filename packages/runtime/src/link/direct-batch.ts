import { Code, ConnectError } from "@connectrpc/connect";
import type { Msg } from "@nats-io/nats-core";
import { Header, wholeNumber } from "../message/header.js";
import { found } from "./jetstream.js";
import type { Link } from "./link.js";
import { denial, type Reply } from "./mux.js";
import type { StoredMessage } from "./stored-message.js";

/** How long the server may be silent, in s. */
const silentSeconds = 10;

/** Most bytes that the server sends for one request, unless one message has more. */
const maxBytes = 1024 * 1024;

/** Several messages of a stream: the first ones of a subject from a sequence or a time on. */
export interface FirstOf {
  readonly seq?: number;
  /** In ISO 8601. */
  readonly start_time?: string;
  /** It may have wildcards. */
  readonly next_by_subj: string;
  readonly batch: number;
}

/** The last message of each subject, 1,024 of them at most, from a sequence on; subjects may have wildcards. */
export interface LastOf {
  readonly seq: number;
  readonly multi_last: readonly string[];
}

/** Messages of a stream, in order. */
export interface Batch {
  readonly messages: StoredMessage[];
  /** How many more there are. */
  readonly pending: number;
}

/**
 * Reads several messages by one request, as a work queue's messages cannot be read by a consumer;
 * fewer where they are large.
 * Throws Unavailable when the server does not answer, PermissionDenied, ResourceExhausted for more than 1,024
 * subjects.
 */
export function getBatch(link: Link, stream: string, request: FirstOf | LastOf): Promise<Batch> {
  return link.reads.hold(maxBytes, () => gatherBatch(link, stream, request));
}

/** The last message of each subject. One that comes meanwhile may be there beside the one before it. Throws as {@link getBatch} does. */
export async function getLasts(
  link: Link,
  stream: string,
  multi_last: readonly string[],
): Promise<StoredMessage[]> {
  const all: StoredMessage[] = [];
  for (;;) {
    const seq = (all.at(-1)?.sequence ?? 0) + 1;
    const { messages, pending } = await getBatch(link, stream, { multi_last, seq });
    all.push(...messages);
    if (messages.length === 0 || pending === 0) {
      return all;
    }
  }
}

function gatherBatch(link: Link, stream: string, request: FirstOf | LastOf): Promise<Batch> {
  const subject = `${link.api}DIRECT.GET.${stream}`;
  const messages: StoredMessage[] = [];
  return new Promise((resolve, reject) => {
    if (!link.connected) {
      reject(link.lost);
      return;
    }
    let silent = 0;
    const fail = (error: unknown) => {
      link.mux.close(token);
      reject(error);
    };
    const take = async (message: Msg) => {
      const stored = await found(link, stream, message);
      if (stored) {
        messages.push(stored);
      } else {
        link.mux.close(token);
        resolve({ messages, pending: wholeNumber(message.headers?.get(Header.pending)) ?? 0 });
      }
    };
    const reply: Reply = {
      inbox: link.mux.jetStream.inbox,
      receive(message) {
        silent = 0;
        void take(message).catch(fail);
      },
      heard: () => undefined,
      tick() {
        if (++silent > silentSeconds) {
          fail(new ConnectError(`stream ${stream} does not answer`, Code.Unavailable));
        }
      },
      disconnected: () => fail(link.lost),
      publishesTo: (other) => other === subject,
      denied: (cause) => fail(denial(subject, cause)),
    };
    const token = link.mux.open(reply);
    const asked = JSON.stringify({ max_bytes: maxBytes, ...request });
    link.nats.publish(subject, asked, { reply: reply.inbox + token });
  });
}
