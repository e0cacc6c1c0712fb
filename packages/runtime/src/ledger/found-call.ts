import { Code, ConnectError } from "@connectrpc/connect";
import { refuseOtherDomainOnce } from "../link/domain.js";
import { getLast } from "../link/jetstream.js";
import type { Link } from "../link/link.js";
import { pause } from "../link/until.js";
import type { MethodBinding } from "../schema/binding.js";
import type { CallName } from "../schema/call-id.js";
import { dueSubjectOf, laterSubjectOf, queueSubjectOf } from "../schema/call-subjects.js";
import { type Entry, lastEntry } from "./log.js";
import { StoredRequest } from "./stored-request.js";

/** All that the server has of a call. */
export interface FoundCall {
  /** Last entry of its log. */
  readonly last: Entry | undefined;
  /** Its request, queued, due or for later; or the message that withdrew it. */
  readonly request: StoredRequest | undefined;
  /** True when the call is to start later. */
  readonly isScheduled: boolean;
}

/**
 * Looks for a call wherever it may be. Undefined when nothing is known of it. Throws
 * FailedPrecondition when its streams are in another JetStream domain.
 */
export async function findCall(
  link: Link,
  method: MethodBinding,
  call: CallName,
): Promise<FoundCall | undefined> {
  const { service } = method;
  await refuseOtherDomainOnce(link, method);
  const entry = () => lastEntry(link, method, call);
  const [first, later, ...queued] = await Promise.all([
    entry(),
    getLast(link, service.laterStream, laterSubjectOf(method, call)),
    ...method.queues.flatMap((queue) => [
      getLast(link, service.stream, queueSubjectOf(queue, call)),
      getLast(link, service.laterStream, dueSubjectOf(method, queue, call)),
    ]),
  ]);
  const request = queued.find((found) => found !== undefined);
  // It may have left the queue between the looks: then its log tells.
  const last = first ?? (request || later ? undefined : await entry());
  if (!last && !request && !later) {
    return undefined;
  }
  return {
    last,
    request: StoredRequest.of(request ?? later),
    isScheduled: !request && later !== undefined,
  };
}

/** For how long one server of a cluster may know less than the others, in ms. */
export const lagMs = 3_000;

/**
 * The same for a call that ought to exist. It looks twice: the call may be moved to its
 * queue between the looks, and the server that answers may lag behind the rest of a cluster.
 */
export async function findKnownCall(
  link: Link,
  method: MethodBinding,
  call: CallName,
): Promise<FoundCall | undefined> {
  const giveUpAt = Date.now() + (method.service.replicas > 1 ? lagMs : 0);
  for (let looks = 1; ; looks++) {
    const found = await findCall(link, method, call);
    if (found || (looks > 1 && Date.now() >= giveUpAt)) {
      return found;
    }
    await pause(looks - 1);
  }
}

/** The requests of a call that are queued, by any priority. */
export async function findQueued(
  link: Link,
  { service, queues }: MethodBinding,
  call: CallName,
): Promise<StoredRequest[]> {
  const found = await Promise.all(
    queues.map((queue) => getLast(link, service.stream, queueSubjectOf(queue, call))),
  );
  return found.filter((stored) => stored !== undefined).map((stored) => StoredRequest.of(stored));
}

/** When the time of a call is over, in ms since 1970; undefined when it has no limit. */
export function deadlineOf({ request, isScheduled }: FoundCall): number | undefined {
  const timeoutMs = request?.knownTimeoutMs ?? 0;
  // The time of a call that starts later counts from its start.
  return request && timeoutMs > 0 && !isScheduled ? request.acceptedAtMs + timeoutMs : undefined;
}

/** The error of a call that was there, and is not any more. */
export function goneError(method: MethodBinding, call: CallName): ConnectError {
  return new ConnectError(
    `${method.desc.toString()}: call "${call.callId}" of owner "${call.owner}" is gone: its queue or its log was purged or deleted, or its result is older than its retention`,
    Code.NotFound,
  );
}

/** The error of a call that cannot go on, or not be followed, as a part of it is gone. */
export function lostError(method: MethodBinding, call: CallName, what: string): ConnectError {
  return new ConnectError(
    `${method.desc.toString()}: call "${call.callId}" of owner "${call.owner}" ${what}: it was purged or deleted`,
    Code.DataLoss,
  );
}

/** The error of a call that nobody knows. */
export function notFound(method: MethodBinding, call: CallName): ConnectError {
  return new ConnectError(
    `${method.desc.toString()}: no call "${call.callId}" of owner "${call.owner}" is known: it was never accepted, or its result is older than its retention`,
    Code.NotFound,
  );
}
