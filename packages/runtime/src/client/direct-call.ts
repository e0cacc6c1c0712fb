import type { DescMessage, MessageInitShape, MessageShape } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";
import type { Msg } from "@nats-io/nats-core";
import type { MethodBinding } from "../wire/binding.js";
import { decode, encode } from "../wire/codec.js";
import { Header, HeaderBlock, headerSize } from "../wire/header.js";
import { isNoResponders, type Link } from "../wire/link.js";
import { isOversize } from "../wire/payload-store.js";
import { decodeStatus, isStatus } from "../wire/status.js";

/** What a direct call carries besides its request. */
export interface DirectCallOptions {
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
 * method or the connection is lost; DeadlineExceeded; Canceled.
 */
export async function callDirect<I extends DescMessage, O extends DescMessage>(
  link: Link,
  method: MethodBinding,
  request: MessageInitShape<I>,
  { signal, timeoutMs, header }: DirectCallOptions,
): Promise<Answer<O>> {
  const { service, directSubject } = method;
  let payload = encode(method.desc.input, request, Code.InvalidArgument);
  // No header on the common call: it costs both sides more than the rest of it.
  let headers: HeaderBlock | undefined;
  if (header) {
    headers = new HeaderBlock().addMetadata(header);
  }
  if (timeoutMs !== undefined && timeoutMs > 0) {
    headers ??= new HeaderBlock();
    headers.add(Header.timeout, Math.ceil(timeoutMs));
  }
  const isLarge = isOversize(payload, headerSize(headers), link.maxPayload);
  let object: string | undefined;
  if (isLarge) {
    object = await link.payloads.put(service, payload);
    headers ??= new HeaderBlock();
    headers.add(Header.payload, object);
    payload = new Uint8Array(0);
  }
  try {
    const wire = await link.request({
      subject: directSubject,
      payload,
      headers,
      timeoutMs: timeoutMs ?? method.timeoutMs,
      signal,
    });
    if (isNoResponders(wire)) {
      throw new ConnectError(
        `no worker serves ${service.desc.typeName}.${method.desc.name}: start one that implements it`,
        Code.Unavailable,
      );
    }
    if (isStatus(wire)) {
      throw decodeStatus(wire);
    }
    const stored = wire.headers?.get(Header.payload);
    const bytes = stored ? await link.payloads.get(service, stored) : wire.data;
    if (stored) {
      void link.payloads.delete(service, stored);
    }
    return { message: decode(method.desc.output, bytes, Code.Internal) as MessageShape<O>, wire };
  } finally {
    if (object) {
      void link.payloads.delete(service, object);
    }
  }
}
