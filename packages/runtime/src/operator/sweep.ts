import { findDeadLetter } from "../ledger/dead-letters.js";
import { type FoundCall, findCall } from "../ledger/found-call.js";
import { type Entry, isMalformed } from "../ledger/log.js";
import { SequenceConflict } from "../link/jetstream-error.js";
import type { Link } from "../link/link.js";
import { readStream } from "../link/stream-reader.js";
import { until } from "../link/until.js";
import { removeUnchanged } from "../objects/remove-object.js";
import { type MethodBinding, methodNamed, type ServiceBinding } from "../schema/binding.js";
import { nameOfSuffix } from "../schema/call-id.js";
import {
  bucketStream,
  type ObjectOwner,
  objectOf,
  parseObjectName,
} from "../schema/object-name.js";
import { PassedOver } from "./passed-over.js";

const batch = 256;

/**
 * Removes the objects of a service's bucket that are older than `olderThanMs` and
 * whose call is gone; returns their number.
 */
export async function sweepObjects(
  link: Link,
  service: ServiceBinding,
  olderThanMs: number,
): Promise<number> {
  const all = `$O.${service.payloadBucket}.>`;
  const range = { subject: all, from: 0, headersOnly: true, lastPerSubject: true, batch };
  const removed = new Set<string>();
  const failures = new PassedOver();
  for await (const stored of readStream(link, bucketStream(service), range)) {
    const { subject, sequence, storedAtMs } = stored;
    const name = objectOf(service, subject);
    const owner = parseObjectName(name);
    if (!owner || Date.now() - storedAtMs < olderThanMs) {
      continue;
    }
    try {
      if (await until(link, () => isNeeded(link, service, owner))) {
        continue;
      }
      // An upload that went on meanwhile has changed it.
      await removeUnchanged(link, service, name, subject, sequence);
      removed.add(name);
    } catch (error) {
      if (!(error instanceof SequenceConflict)) {
        failures.add(error);
      }
    }
  }
  failures.tell();
  return removed.size;
}

async function isNeeded(link: Link, service: ServiceBinding, owner: ObjectOwner): Promise<boolean> {
  const { kind, method: name, suffix, base } = owner;
  const method = methodNamed(service, name);
  if (kind === "rpc") {
    return false;
  }
  if (!method) {
    // Another version of the schema knows better.
    return true;
  }
  const call = nameOfSuffix(suffix);
  let found: FoundCall | undefined;
  try {
    found = await findCall(link, method, call);
  } catch (error) {
    if (isMalformed(error)) {
      // Its end, and its dead letter, are for its worker to write.
      return true;
    }
    throw error;
  }
  if (kind === "log") {
    return found !== undefined && mayBeNamed(method, base, found.last);
  }
  const letter = await findDeadLetter(link, method, call);
  return [found?.request, letter].some((request) => request?.objectBase === base);
}

/** False for what an attempt left that did not end its unary call: the end names all that counts. */
function mayBeNamed({ desc }: MethodBinding, base: string, last: Entry | undefined): boolean {
  if (desc.methodKind !== "unary" || last?.kind !== "end") {
    return true;
  }
  const named = last.objects?.base;
  return last.outcome === "succeeded" && (!named || named === base);
}
