import { Code, ConnectError } from "@connectrpc/connect";
import { callApi, getNext } from "../link/jetstream.js";
import type { Link } from "../link/link.js";
import type { MethodBinding, Queue } from "../schema/binding.js";

/** For how long what was found out is believed, in ms. */
const freshMs = 1_000;

interface QueueAge {
  readonly checkedAt: number;
  /** When the oldest call that waits was queued, in ms since 1970. */
  readonly oldest: Promise<number | undefined>;
}

const ages = new WeakMap<Link, Map<string, QueueAge>>();

/** Connections whose credentials may not look. */
const blind = new WeakSet<Link>();

/**
 * Throws ResourceExhausted when the oldest call of a queue has waited for too long.
 * Credentials that may not read the queue keep no limit: a user who may see the oldest
 * request may see all.
 */
export async function checkQueueAge(
  link: Link,
  method: MethodBinding,
  queue: Queue,
): Promise<void> {
  if (blind.has(link)) {
    return;
  }
  const { maxQueueAgeMs } = method.service;
  const oldest = await age(link, method, queue);
  const waitedMs = oldest === undefined ? 0 : Date.now() - oldest;
  if (waitedMs > maxQueueAgeMs) {
    throw new ConnectError(
      `${method.desc.toString()}: the oldest call has waited for ${waitedMs} ms, and max_queue_age is ${maxQueueAgeMs} ms: add workers, or submit later`,
      Code.ResourceExhausted,
    );
  }
}

function age(link: Link, method: MethodBinding, queue: Queue): Promise<number | undefined> {
  let known = ages.get(link);
  if (!known) {
    known = new Map();
    ages.set(link, known);
  }
  let entry = known.get(queue.subject);
  if (!entry || Date.now() - entry.checkedAt > freshMs) {
    entry = { checkedAt: Date.now(), oldest: findOldest(link, method, queue) };
    known.set(queue.subject, entry);
  }
  return entry.oldest;
}

async function findOldest(
  link: Link,
  { service }: MethodBinding,
  { subject, consumer }: Queue,
): Promise<number | undefined> {
  try {
    const info = await callApi<{ delivered: { stream_seq: number } }>(
      link,
      `CONSUMER.INFO.${service.stream}.${consumer}`,
      {},
    );
    // A request that was delivered waits no longer.
    const from = info && info.delivered.stream_seq + 1;
    const next = from ? await getNext(link, service.stream, `${subject}.>`, from) : undefined;
    // Not its Jetrpc-Accepted: a client could forge that, and keep off all others.
    return next?.storedAtMs;
  } catch (error) {
    if (ConnectError.from(error).code === Code.PermissionDenied) {
      blind.add(link);
    }
    // No stream, or no right to look: the limit is then for others to keep.
    return undefined;
  }
}
