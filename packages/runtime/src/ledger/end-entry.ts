import type { ConnectError } from "@connectrpc/connect";
import type { Msg } from "@nats-io/nats-core";
import type { Link } from "../link/link.js";
import { publishInto } from "../link/provision.js";
import { Header, HeaderBlock, readDigest } from "../message/header.js";
import { encodeStatus } from "../message/status.js";
import type { MethodBinding } from "../schema/binding.js";
import type { CallName } from "../schema/call-id.js";
import { type Entry, entrySubject, formatEntry, type Outcome } from "./call-log.js";
import { acceptedAt } from "./call-search.js";

/**
 * Ends a call without an attempt: stores the end after the last entry of its log.
 * Throws SequenceConflict when that is not the last one any more.
 */
export async function storeEnd(
  link: Link,
  method: Pick<MethodBinding, "service" | "logSubject">,
  call: CallName,
  last: Pick<Entry, "attempt" | "sequence"> | undefined,
  request: Msg | undefined,
  outcome: Outcome,
  error: ConnectError,
): Promise<void> {
  const headers = new HeaderBlock()
    .add(Header.entry, formatEntry("end", last?.attempt ?? 0, outcome))
    .add(Header.expectedLastSubjectSequence, last?.sequence ?? 0);
  const digest = readDigest(request?.headers);
  if (digest) {
    headers.add(Header.digest, digest);
  }
  if (request) {
    headers.add(Header.accepted, acceptedAt(request));
  }
  const { payload } = encodeStatus(error, { maxBytes: link.maxPayload, headers });
  await publishInto(link, method.service, entrySubject(method, call), payload, headers);
}
