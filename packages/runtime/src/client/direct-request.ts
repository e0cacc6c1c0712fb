import { Code, ConnectError } from "@connectrpc/connect";
import type { Link } from "../link/link.js";
import { canceled } from "../link/pending-reply.js";
import { startTimer } from "../link/timer.js";
import { Header, HeaderBlock } from "../message/header.js";
import { isEmpty } from "../message/metadata.js";
import { requestMetadata } from "../message/metadata-limit.js";
import type { MethodBinding } from "../schema/binding.js";

/** What a call carries besides its request. */
export interface CallArguments {
  readonly signal: AbortSignal | undefined;
  /** In ms; undefined for the method's own, 0 or less for none. */
  readonly timeoutMs: number | undefined;
  readonly header: Headers | undefined;
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
  { timeoutMs, header }: CallArguments,
  maxPayload: number,
): HeaderBlock | undefined {
  let headers: HeaderBlock | undefined;
  if (header && !isEmpty(header)) {
    headers = requestMetadata(header, maxPayload);
  }
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
 * Waits for the storage of a payload no longer than the call may take: the storage goes
 * on, and the wait ends with DeadlineExceeded, or as the call's signal says. `timeoutMs`
 * is the time of the whole call, of which `leftMs` are left; 0 or less is no limit.
 */
export function withinCall<T>(
  method: MethodBinding,
  signal: AbortSignal | undefined,
  timeoutMs: number,
  leftMs: number,
  work: Promise<T>,
): Promise<T> {
  return new Promise((resolve, reject) => {
    const giveUp = (error: ConnectError) => {
      release();
      reject(error);
    };
    const abort = () => giveUp(canceled(signal));
    const expire = () => giveUp(outOfTime(method, timeoutMs));
    const stopTimer = timeoutMs > 0 ? startTimer(expire, leftMs) : undefined;
    const release = () => {
      stopTimer?.();
      signal?.removeEventListener("abort", abort);
    };
    signal?.addEventListener("abort", abort);
    if (signal?.aborted) {
      abort();
    }
    work.finally(release).then(resolve, reject);
  });
}

/** The error of a call that took longer than so many ms. */
export function outOfTime({ desc }: MethodBinding, timeoutMs: number): ConnectError {
  const text = `${desc.toString()} did not end within ${timeoutMs} ms`;
  return new ConnectError(text, Code.DeadlineExceeded);
}
