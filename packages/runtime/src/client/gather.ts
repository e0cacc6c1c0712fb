import { Code, ConnectError } from "@connectrpc/connect";
import type { Msg } from "@nats-io/nats-core";
import { Discovery, discoverySubject, type InfoReply, microName } from "../wire/discovery.js";
import { isNoResponders, type Link } from "../wire/link.js";
import { denial, type Reply } from "../wire/mux.js";

/** How long answers of workers are waited for, in ms. */
export const defaultTimeoutMs = 500;

/**
 * Asks whoever listens, and takes answers until the time is over, nobody is there,
 * or one is enough.
 */
export function gather(
  link: Link,
  subject: string,
  timeoutMs: number,
  take: (message: Msg) => boolean,
): Promise<void> {
  return new Promise((resolve, reject) => {
    if (!link.connected) {
      reject(link.lost);
      return;
    }
    const finish = () => {
      link.mux.close(token);
      clearTimeout(timer);
    };
    const reply: Reply = {
      inbox: link.mux.createInbox(),
      receive(message) {
        if (isNoResponders(message) || take(message)) {
          finish();
          resolve();
        }
      },
      heard: () => undefined,
      tick: () => undefined,
      disconnected() {
        finish();
        reject(new ConnectError("the connection to NATS was lost", Code.Unavailable));
      },
      publishesTo: (other) => other === subject,
      denied(cause) {
        finish();
        reject(denial(subject, cause));
      },
    };
    const token = link.mux.open(reply);
    const timer = setTimeout(() => {
      finish();
      resolve();
    }, timeoutMs);
    link.nats.publish(subject, undefined, { reply: reply.inbox + token });
  });
}

/** What is no such reply is not of a worker of ours. */
export function parseReply(message: Msg): InfoReply | undefined {
  try {
    return message.json() as InfoReply;
  } catch {
    return undefined;
  }
}

/** What the first worker says of a service; undefined when there is none. */
export async function firstInfo(
  link: Link,
  typeName: string,
  timeoutMs: number,
): Promise<InfoReply | undefined> {
  let first: InfoReply | undefined;
  await gather(link, discoverySubject("INFO", microName(typeName)), timeoutMs, (message) => {
    const info = parseReply(message);
    if (info?.metadata?.[Discovery.service] === typeName) {
      first = info;
    }
    return first !== undefined;
  });
  return first;
}
