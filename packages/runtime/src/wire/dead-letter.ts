import { base64Decode, base64Encode } from "@bufbuild/protobuf/wire";
import type { ConnectError } from "@connectrpc/connect";
import type { Msg } from "@nats-io/nats-core";
import type { MethodBinding } from "./binding.js";
import { Header, HeaderBlock } from "./header.js";
import { publishStored } from "./jetstream.js";
import type { Link } from "./link.js";
import { decodeStatusBytes, encodeStatus } from "./status.js";

/** Longest status in a header, in base64; a longer one loses its details. */
const statusLimit = 16 * 1024;

/** What a dead letter keeps of its request besides metadata. */
const kept: readonly string[] = [
  Header.timeout,
  Header.digest,
  Header.payload,
  Header.objects,
  Header.contentType,
].map((name) => name.toLowerCase());

/**
 * Keeps the request of a call that failed for good, with the reason. Storing it
 * again replaces it. Errors: those of {@link publishStored}.
 */
export async function storeDeadLetter(
  link: Link,
  { deadSubject }: Pick<MethodBinding, "deadSubject">,
  suffix: string,
  request: Msg,
  error: ConnectError,
  attempts: number,
  acceptedAtMs: number,
): Promise<void> {
  const headers = copyRequestHeaders(request);
  const status = base64Encode(encodeStatus(error, headers).payload);
  headers.add(Header.attempts, attempts).add(Header.accepted, acceptedAtMs);
  if (status.length <= statusLimit) {
    headers.add(Header.status, status);
  }
  await publishStored(link, `${deadSubject}.${suffix}`, request.data, headers);
}

/** The headers of a request that belong to it wherever it lies. */
export function copyRequestHeaders(request: Msg): HeaderBlock {
  const headers = new HeaderBlock();
  for (const [name, values] of request.headers ?? []) {
    const lower = name.toLowerCase();
    if (lower.startsWith("trailer-")) {
      continue;
    }
    if (kept.includes(lower) || !/^(nats|jetrpc)-/.test(lower)) {
      for (const value of values) {
        headers.add(name, value);
      }
    }
  }
  return headers;
}

/** Why the call of a dead letter failed. */
export function errorOf(letter: Msg): ConnectError {
  return decodeStatusBytes(letter, base64Decode(letter.headers?.get(Header.status) ?? ""));
}
