import { Code, ConnectError } from "@connectrpc/connect";
import type { Link } from "../link/link.js";
import type { Watch } from "../link/observer.js";
import { Header, HeaderBlock } from "../message/header.js";
import { requestMetadata } from "../message/metadata-limit.js";
import type { MethodBinding } from "../schema/binding.js";
import type { Deadline } from "./until-aborted.js";

/** The arguments of a call beside its request. */
export interface CallArguments {
  readonly signal: AbortSignal | undefined;
  /** In ms; undefined for the method's own, 0 or less for none. */
  readonly timeoutMs: number | undefined;
  readonly header: Headers | undefined;
  /** Has metadata that goes along, and is told when the call ends before its reader knows. */
  readonly watch?: Watch | undefined;
}

/** The request of a direct call as it is sent. */
export interface DirectRequest {
  readonly payload: Uint8Array;
  readonly headers: HeaderBlock | undefined;
  /** Holds the payload where it is too large for a message. */
  readonly object?: string;
}

/**
 * Headers of a request; none for the common call: they cost both sides more than the rest
 * of it. Errors: those of {@link requestMetadata}.
 */
export function directHeaders(
  { timeoutMs, header, watch }: CallArguments,
  maxPayload: number,
): HeaderBlock | undefined {
  let headers = requestMetadata(header, watch, maxPayload);
  if (timeoutMs !== undefined) {
    headers ??= new HeaderBlock();
    headers.addTimeout(timeoutMs);
  }
  return headers;
}

/** Stores the payload of a request that is too large for a message. */
export async function storeRequest(
  link: Link,
  method: MethodBinding,
  payload: Uint8Array,
  headers = new HeaderBlock(),
): Promise<Required<DirectRequest>> {
  const object = await link.payloads.putDirect(method, payload);
  return { payload: new Uint8Array(0), headers: headers.add(Header.payload, object), object };
}

/**
 * The deadline of a call whose payloads are being stored or read. `timeoutMs` is the time of
 * the whole call, of which `leftMs` are left; 0 or less is no limit.
 */
export function deadlineOf(
  method: MethodBinding,
  timeoutMs: number,
  leftMs: number,
): Deadline | undefined {
  return timeoutMs > 0 ? { leftMs, error: () => outOfTime(method, timeoutMs) } : undefined;
}

/** The error of a call that took longer than so many ms. */
export function outOfTime(
  { desc }: Pick<MethodBinding, "desc">,
  timeoutMs: number | undefined,
): ConnectError {
  const text = `${desc.toString()} did not end within ${timeoutMs} ms`;
  return new ConnectError(text, Code.DeadlineExceeded);
}
