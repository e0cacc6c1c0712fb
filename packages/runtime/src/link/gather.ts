import { Code, ConnectError } from "@connectrpc/connect";
import type { Msg } from "@nats-io/nats-core";
import { Discovery, discoverySubject, type InfoReply, microName } from "../schema/micro-names.js";
import { isNoResponders, type Link } from "./link.js";
import { denial, type Reply } from "./mux.js";
import { checkTimeoutMs } from "./timer.js";

/** How long answers of workers are waited for, in ms. */
export const defaultTimeoutMs = 500;

/**
 * Asks all who listen, and takes answers until the time is over, nobody is there,
 * one is enough, or none has come for some time.
 */
export function gather(
  link: Link,
  subject: string,
  timeoutMs: number,
  take: (message: Msg) => boolean,
  quietMs = timeoutMs,
): Promise<void> {
  checkTimeoutMs(timeoutMs);
  const endsAt = Date.now() + timeoutMs;
  return new Promise((resolve, reject) => {
    if (!link.connected) {
      reject(link.lost);
      return;
    }
    const finish = () => {
      link.mux.close(token);
      clearTimeout(timer);
    };
    const over = () => {
      finish();
      resolve();
    };
    const reply: Reply = {
      inbox: link.mux.createRoute().inbox,
      receive(message) {
        try {
          if (isNoResponders(message) || take(message)) {
            over();
          } else if (quietMs < timeoutMs) {
            clearTimeout(timer);
            timer = setTimeout(over, Math.min(quietMs, endsAt - Date.now()));
          }
        } catch (error) {
          finish();
          reject(error);
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
    let timer = setTimeout(over, timeoutMs);
    link.nats.publish(subject, undefined, { reply: reply.inbox + token });
  });
}

/**
 * Reads the answer of a NATS micro service about itself. Undefined for any other message:
 * anyone may answer, in any shape.
 */
export function parseReply(message: Msg): InfoReply | undefined {
  let reply: unknown;
  try {
    reply = message.json();
  } catch {
    return undefined;
  }
  const { name, id, version, metadata, endpoints } = asRecord(reply);
  return {
    name: asText(name),
    id: asText(id),
    version: asText(version),
    metadata: asTexts(metadata),
    endpoints: (Array.isArray(endpoints) ? endpoints : []).map((each) => ({
      name: asText(asRecord(each)["name"]),
      metadata: asTexts(asRecord(each)["metadata"]),
    })),
  };
}

function asRecord(value: unknown): Record<string, unknown> {
  return typeof value === "object" && value !== null ? (value as Record<string, unknown>) : {};
}

function asText(value: unknown): string {
  return typeof value === "string" ? value : "";
}

/** The texts of a record. */
function asTexts(value: unknown): Record<string, string> {
  const texts = Object.entries(asRecord(value)).filter(([, text]) => typeof text === "string");
  return Object.fromEntries(texts) as Record<string, string>;
}

/** The answer of the first worker of a service; undefined when there is none. */
export async function firstInfo(
  link: Link,
  typeName: string,
  timeoutMs: number,
): Promise<InfoReply | undefined> {
  let first: InfoReply | undefined;
  await gather(link, discoverySubject("INFO", microName(typeName)), timeoutMs, (message) => {
    const info = parseReply(message);
    if (info?.metadata[Discovery.service] === typeName) {
      first = info;
    }
    return first !== undefined;
  });
  return first;
}
