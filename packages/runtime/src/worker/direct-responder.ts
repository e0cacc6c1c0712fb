import type { DescMessage, MessageInitShape } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";
import type { Msg, Subscription } from "@nats-io/nats-core";
import type { MethodBinding } from "../wire/binding.js";
import {
  decode,
  decodeJson,
  type Encoding,
  encode,
  encodeJson,
  encodingOf,
  jsonType,
} from "../wire/codec.js";
import { Header, HeaderBlock, headerSize } from "../wire/header.js";
import type { Link } from "../wire/link.js";
import { isOversize } from "../wire/payload-store.js";
import { encodeStatus, toCallerError } from "../wire/status.js";
import { LazyHandlerContext } from "./context.js";
import type { AnyHandler } from "./handler.js";
import type { Logger } from "./log.js";

/** Queue group of all workers of a method: each request goes to one of them. */
const queueGroup = "q";

/** Why the signal of a call fires that ended well. */
const callEnded = new ConnectError("the call has ended", Code.Canceled);

/** Answers direct unary calls of one method. */
export class DirectResponder {
  private subscription: Subscription | undefined;
  private readonly running = new Map<LazyHandlerContext, Msg>();
  private onIdle: (() => void) | undefined;

  constructor(
    private readonly link: Link,
    private readonly method: MethodBinding,
    private readonly handler: AnyHandler,
    private readonly log: Logger,
  ) {}

  start(): void {
    this.subscription = this.link.nats.subscribe(this.method.directSubject, {
      queue: queueGroup,
      callback: (_error, message) => void this.answer(message),
    });
  }

  /** Takes nothing new, once all that the server sent already is taken. */
  async stop(): Promise<void> {
    if (this.subscription && !this.subscription.isClosed() && this.link.connected) {
      await this.subscription.drain();
    }
  }

  /** Waits until nothing runs. */
  async idle(): Promise<void> {
    if (this.running.size > 0) {
      await new Promise<void>((resolve) => {
        this.onIdle = resolve;
      });
    }
  }

  /** Fires the signals of what runs, and answers its callers. */
  abort(reason: ConnectError): void {
    for (const [context, request] of this.running) {
      this.respondError(request, reason);
      this.finish(context, reason);
    }
  }

  private async answer(request: Msg): Promise<void> {
    const context = new LazyHandlerContext(this.method, request, this.timeoutMs(request));
    this.running.set(context, request);
    let encoding: Encoding = "binary";
    try {
      const stored = request.headers?.get(Header.payload);
      const bytes = stored
        ? await this.link.payloads.get(this.method.service, stored)
        : request.data;
      encoding = encodingOf(request.headers?.get(Header.contentType) ?? "");
      const parse = encoding === "json" ? decodeJson : decode;
      const message = parse(this.method.desc.input, bytes, Code.InvalidArgument);
      const result = await this.handler(message, context);
      if (this.running.has(context)) {
        await this.respond(request, result, context, encoding);
      }
    } catch (thrown) {
      if (this.running.has(context)) {
        this.respondError(request, thrown, encoding);
      }
    } finally {
      this.finish(context, callEnded);
    }
  }

  private finish(context: LazyHandlerContext, reason: ConnectError): void {
    this.running.delete(context);
    context.abort(reason);
    if (this.running.size === 0) {
      this.onIdle?.();
    }
  }

  private timeoutMs(request: Msg): number {
    const wanted = Number(request.headers?.get(Header.timeout));
    return wanted > 0 ? wanted : this.method.timeoutMs;
  }

  private async respond(
    request: Msg,
    result: MessageInitShape<DescMessage>,
    context: LazyHandlerContext,
    encoding: Encoding,
  ): Promise<void> {
    const serialize = encoding === "json" ? encodeJson : encode;
    let payload = serialize(this.method.desc.output, result, Code.Internal);
    const { header, trailer } = context.responseMetadata;
    let headers: HeaderBlock | undefined;
    if (encoding === "json") {
      headers = new HeaderBlock().add(Header.contentType, jsonType);
    }
    if (header || trailer) {
      headers ??= new HeaderBlock();
      if (header) {
        headers.addMetadata(header);
      }
      if (trailer) {
        headers.addTrailer(trailer);
      }
    }
    if (isOversize(payload, headerSize(headers), this.link.maxPayload)) {
      headers ??= new HeaderBlock();
      headers.add(Header.payload, await this.link.payloads.put(this.method.service, payload));
      payload = new Uint8Array(0);
    }
    this.publish(request, payload, headers);
  }

  private respondError(request: Msg, thrown: unknown, encoding: Encoding = "binary"): void {
    const error = toCallerError(thrown);
    if (error !== thrown) {
      this.log({
        level: "error",
        message: "a handler threw what is no ConnectError",
        method: this.method.desc.toString(),
        error: thrown,
      });
    }
    const { headers, payload } = encodeStatus(error);
    if (encoding === "json") {
      // As Connect writes an error; details are for programs, which read protobuf.
      const text = JSON.stringify({ code: Code[error.code], message: error.rawMessage });
      headers.add(Header.contentType, jsonType);
      this.publish(request, new TextEncoder().encode(text), headers);
    } else {
      this.publish(request, payload, headers);
    }
  }

  private publish(request: Msg, payload: Uint8Array, headers: HeaderBlock | undefined): void {
    if (!request.reply || this.link.nats.isClosed()) {
      return;
    }
    this.link.nats.publish(
      request.reply,
      payload,
      headers ? { headers: headers.asHeaders() } : undefined,
    );
  }
}
