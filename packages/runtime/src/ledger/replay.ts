import { Code, ConnectError } from "@connectrpc/connect";
import { callApi, getNext } from "../link/jetstream.js";
import type { Link } from "../link/link.js";
import { Header } from "../message/header.js";
import { objectsOf } from "../message/request-objects.js";
import { releaseObjects, removeObjects } from "../objects/payload-store.js";
import type { MethodBinding, ServiceBinding } from "../schema/binding.js";
import type { CallName } from "../schema/call-id.js";
import {
  deadSubjectOf,
  entrySubjectOf,
  progressSubjectOf,
  queueSubjectOf,
} from "../schema/call-subjects.js";
import { requestSpace } from "../schema/object-name.js";
import { type Correction, correctRequest } from "./corrected-request.js";
import { deleteMessage, readCause } from "./dead-letters.js";
import { findQueued } from "./found-call.js";
import { lastEntry } from "./log.js";
import { placeRequest, type StoredRequest } from "./stored-request.js";

/**
 * Makes the call of a dead letter queue anew, and removes the dead letter.
 *
 * Expects: the dead letter is there; no request of the call is queued, unless a replay that
 * was cut short put it there; the log is empty or ends with `end … failed`.
 * Writes: purges progress and log; the request with `Jetrpc-Dead-Letter`, expecting an empty
 * subject; deletes the dead letter.
 * May be answered: 10071 or 10164, another replay was faster; 10077, a full queue.
 *
 * Returns false where the dead letter was gone. Throws Unavailable while the request that failed is in its queue: its worker is about to
 * acknowledge it.
 */
export async function replayCall(
  link: Link,
  method: MethodBinding,
  call: CallName,
  letter: StoredRequest,
  correction?: Correction,
): Promise<boolean> {
  const { service } = method;
  const subject = deadSubjectOf(method, call);
  const found = await getNext(link, service.deadStream, subject, letter.sequence);
  if (found?.sequence !== letter.sequence) {
    // It is replayed, or discarded.
    return false;
  }
  const queued = await findQueued(link, method, call);
  if (queued.some(({ deadLetter }) => deadLetter !== letter.sequence)) {
    throw new ConnectError(
      `call "${call.callId}" is still in its queue: it has failed just now, or its worker was lost when it had`,
      Code.Unavailable,
    );
  }
  const last = await lastEntry(link, method, call);
  if (queued.length === 0 && (!last || last.outcome === "failed")) {
    if (last) {
      await forget(link, method, call, last.sequence);
    }
    const { payload, headers } = correction
      ? await correctRequest(link, method, call, letter, correction)
      : { payload: letter.data, headers: letter.copyHeaders() };
    headers.add(Header.replay, 1).add(Header.letter, letter.sequence);
    const place = queueSubjectOf({ subject: method.queueSubject }, call);
    await placeRequest(link, place, 0, payload, headers);
  }
  // Otherwise it runs since a replay that was cut short, or has run.
  await removeLetter(link, service, method, call, letter);
  // Its worker keeps what a dead letter has: it may have ended before that was gone.
  if ((await lastEntry(link, method, call))?.kind === "end") {
    await releaseObjects(link, method, call, letter);
  }
  return true;
}

/** Removes the log of the call up to its end, and its progress. */
async function forget(
  link: Link,
  method: MethodBinding,
  call: CallName,
  end: number,
): Promise<void> {
  const { service } = method;
  const purge = (stream: string, what: object) => callApi(link, `STREAM.PURGE.${stream}`, what);
  await purge(service.progressStream, { filter: progressSubjectOf(method, call) });
  await purge(service.logStream, { filter: entrySubjectOf(method, call), seq: end + 1 });
}

/** Removes a dead letter, and what its request left in the object store. */
export async function discardCall(
  link: Link,
  service: ServiceBinding,
  /** Undefined where the schema lacks it. */
  method: MethodBinding | undefined,
  name: string,
  call: CallName,
  letter: StoredRequest,
): Promise<void> {
  await removeLetter(link, service, method, call, letter);
  const objects = objectsOf(letter, requestSpace({ desc: { name } }, call));
  if (objects) {
    removeObjects(link, service, objects);
  }
}

async function removeLetter(
  link: Link,
  service: ServiceBinding,
  method: MethodBinding | undefined,
  call: CallName,
  letter: StoredRequest,
): Promise<void> {
  // Of a method that the schema lacks, the credentials may not allow it.
  const cause = method && (await readCause(link, method, call));
  // It is stored before its letter: a later one is of a call that was replayed and has failed again.
  const isOwn = cause !== undefined && cause.sequence < letter.sequence;
  for (const stored of isOwn ? [cause, letter] : [letter]) {
    await deleteMessage(link, service.deadStream, stored);
  }
}
