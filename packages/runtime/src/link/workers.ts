import type { ServiceBinding } from "../schema/binding.js";
import { Discovery, discoverySubject, microName } from "../schema/micro-names.js";
import { defaultTimeoutMs, gather, parseReply } from "./gather.js";
import type { Link } from "./link.js";

/** For how long what was found out is believed, in ms: many calls may ask at once. */
const freshMs = 1_000;

/** Silence after an answer that means that it was the last one, in ms. */
const quietMs = 100;

/** How many workers serve a durable method, by its name. Methods that none serves are left out. */
export type WorkerCounts = ReadonlyMap<string, number>;

interface Answer {
  readonly askedAt: number;
  readonly counts: Promise<WorkerCounts>;
}

const answers = new WeakMap<Link, Map<string, Answer>>();

/**
 * Asks the running workers of a service, by NATS micro, what they serve. Those count
 * that take calls and answer in time; when there is none, the server says so at once.
 *
 * Throws Unavailable when the connection is lost, PermissionDenied.
 */
export function countWorkers(link: Link, service: ServiceBinding): Promise<WorkerCounts> {
  const { typeName } = service.desc;
  const known = answers.get(link) ?? new Map<string, Answer>();
  answers.set(link, known);
  let answer = known.get(typeName);
  if (!answer || Date.now() - answer.askedAt > freshMs) {
    answer = { askedAt: Date.now(), counts: ask(link, typeName) };
    known.set(typeName, answer);
  }
  return answer.counts;
}

async function ask(link: Link, typeName: string): Promise<WorkerCounts> {
  const counts = new Map<string, number>();
  const subject = discoverySubject("INFO", microName(typeName));
  const take = (message: Parameters<typeof parseReply>[0]) => {
    const { metadata, endpoints = [] } = parseReply(message) ?? {};
    if (metadata?.[Discovery.service] === typeName && metadata[Discovery.status] === "SERVING") {
      for (const { name, metadata: of } of endpoints) {
        // Workers of another schema may have it as a direct one.
        if (of[Discovery.delivery] === "durable") {
          counts.set(name, (counts.get(name) ?? 0) + 1);
        }
      }
    }
    return false;
  };
  await gather(link, subject, defaultTimeoutMs, take, quietMs);
  return counts;
}
