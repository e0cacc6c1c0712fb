import type { DescMessage, MessageInitShape, MessageShape } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";
import type { Msg } from "@nats-io/nats-core";
import type { MethodBinding } from "../wire/binding.js";
import { checkSize, decode, encode, type MessageLimits } from "../wire/codec.js";
import { Header, HeaderBlock, headerSize } from "../wire/header.js";
import { isNoResponders, type Link } from "../wire/link.js";
import { isOversize } from "../wire/payload-store.js";
import { decodeStatus, isStatus, neverRan } from "../wire/status.js";

/** What a call carries besides its request. */
export interface CallArguments {
  readonly signal: AbortSignal | undefined;
  /** In ms; undefined for the method's own, 0 or less for none. */
  readonly timeoutMs: number | undefined;
  readonly header: Headers | undefined;
}

/** A message and the NATS message that brought it. */
export interface Answer<O extends DescMessage> {
  readonly message: MessageShape<O>;
  readonly wire: Msg;
}

/**
 * Calls a unary method by core NATS request and reply: at most once.
 *
 * Errors: what the handler threw; Unavailable at once when no worker serves the
 * method or the connection is lost; DeadlineExceeded; Canceled;
 * ResourceExhausted when a message is larger than the limits.
 */
export async function callDirect<I extends DescMessage, O extends DescMessage>(
  link: Link,
  method: MethodBinding,
  request: MessageInitShape<I>,
  call: CallArguments,
  limits: MessageLimits,
): Promise<Answer<O>> {
  const { service } = method;
  let payload = encode(method.desc.input, request, Code.InvalidArgument);
  checkSize(method.desc.input, payload, limits, "writeMaxBytes");
  let headers = requestHeaders(call);
  let object: string | undefined;
  if (isOversize(payload, headerSize(headers), link.maxPayload)) {
    object = await link.payloads.put(service, payload);
    headers ??= new HeaderBlock();
    headers.add(Header.payload, object);
    payload = new Uint8Array(0);
  }
  try {
    const wire = await ask(link, method, payload, headers, call);
    if (isStatus(wire)) {
      throw decodeStatus(wire);
    }
    const stored = wire.headers?.get(Header.payload);
    const bytes = stored ? await link.payloads.get(service, stored) : wire.data;
    if (stored) {
      void link.payloads.delete(service, stored);
    }
    checkSize(method.desc.output, bytes, limits, "readMaxBytes");
    return { message: decode(method.desc.output, bytes, Code.Internal) as MessageShape<O>, wire };
  } finally {
    if (object) {
      void link.payloads.delete(service, object);
    }
  }
}

/** Headers of a request; none for the common call: they cost both sides more than the rest of it. */
export function requestHeaders({ timeoutMs, header }: CallArguments): HeaderBlock | undefined {
  let headers: HeaderBlock | undefined;
  if (header) {
    headers = new HeaderBlock().addMetadata(header);
  }
  if (timeoutMs !== undefined && timeoutMs > 0) {
    headers ??= new HeaderBlock();
    headers.add(Header.timeout, Math.ceil(timeoutMs));
  }
  return headers;
}

async function ask(
  link: Link,
  method: MethodBinding,
  payload: Uint8Array,
  headers: HeaderBlock | undefined,
  { signal, timeoutMs = method.timeoutMs }: CallArguments,
): Promise<Msg> {
  const send = (subject: string) =>
    link.request({ subject, payload, headers, timeoutMs, signal, worker: method });
  let reply = await send(method.directSubject);
  if (isNoResponders(reply)) {
    // Either nobody serves the method, or everybody is busy.
    reply = await send(method.waitSubject);
  }
  if (isNoResponders(reply)) {
    throw noWorker(method);
  }
  return reply;
}

/** Nobody listens to the requests of a method. */
export function noWorker({ service, desc }: MethodBinding): ConnectError {
  return neverRan(
    new ConnectError(
      `no worker serves ${service.desc.typeName}.${desc.name}: start one that implements it`,
      Code.Unavailable,
    ),
  );
}
