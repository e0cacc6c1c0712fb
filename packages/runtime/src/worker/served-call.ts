import type { DescMessage, MessageInitShape } from "@bufbuild/protobuf";
import type { ConnectError } from "@connectrpc/connect";
import type { Msg } from "@nats-io/nats-core";
import type { Link } from "../link/link.js";
import type { Watch } from "../link/observer.js";
import { checkSize, decodeRequest, encodeResponse } from "../message/codec.js";
import { type Encoding, encodingOf, jsonType } from "../message/encoding.js";
import { Header, HeaderBlock, headerSize, readTimeoutMs } from "../message/header.js";
import { isOversize } from "../message/oversize.js";
import { encodeStatus } from "../message/status.js";
import type { MethodBinding } from "../schema/binding.js";
import { directSpace } from "../schema/direct-space.js";
import { DirectHandlerContext } from "./context.js";
import { sendHeartbeat } from "./heartbeat.js";
import { callerError, reportUnsent, type ServedMethod } from "./served-method.js";
import { isThenable } from "./steps.js";
import { watchedHandler } from "./watched-handler.js";

const nothing = new Uint8Array(0);

/** A direct call in a worker. */
export interface ServedCall {
  /** Subject on which the caller waits; it names the call. */
  readonly reply: string | undefined;
  /**
   * Runs the call. Never throws. Returns undefined when the handler has ended, and otherwise
   * a promise that resolves when it has.
   */
  run(): Promise<void> | undefined;
  /** Ends the call with an error before its handler does. */
  stop(error: ConnectError): void;
  /** The caller has left: nobody waits for an answer. */
  cancel(error: ConnectError): void;
  /** A second has passed. */
  tick(): void;
}

/** Bytes of the header that says what a message is. */
const contentTypeBytes = 64;

type Result = MessageInitShape<DescMessage>;

/** How long a direct call may take, in ms; 0 for no limit. Throws InvalidArgument. */
export function requestTimeoutMs(method: MethodBinding, request: Msg): number {
  return readTimeoutMs(request.headers) ?? method.timeoutMs;
}

/** The context for the handler of a direct call. Throws InvalidArgument. */
export function createContext(method: MethodBinding, request: Msg): DirectHandlerContext {
  const asked = readTimeoutMs(request.headers);
  return new DirectHandlerContext(method, request, asked ?? method.timeoutMs, asked !== undefined);
}

/** A unary direct call. */
export class ServedUnaryCall implements ServedCall {
  private readonly context: DirectHandlerContext;
  private encoding: Encoding = "binary";
  private hasEnded = false;
  private beganAt = 0;
  private watch: Watch | undefined;

  constructor(
    private readonly link: Link,
    private readonly served: ServedMethod,
    private readonly request: Msg,
    /** Beats for which it has waited since its caller was sent something. */
    private quiet: number,
  ) {
    this.context = createContext(served.method, request);
  }

  get reply(): string | undefined {
    return this.request.reply;
  }

  run(): Promise<void> | undefined {
    this.beganAt = this.served.stats.began();
    this.watch = this.link.observer?.handling?.(this.served.method, this.request.headers);
    let response: Promise<void> | undefined;
    try {
      const stored = this.request.headers?.get(Header.payload);
      const result = stored ? this.runStored(stored) : this.handle(this.request.data);
      // A handler that answers at once costs no promise.
      response = isThenable(result)
        ? Promise.resolve(result).then((message) => this.respond(message))
        : this.respond(result);
    } catch (thrown) {
      this.failed(thrown);
    }
    if (!response) {
      this.ended();
      return undefined;
    }
    return response.then(
      () => this.ended(),
      (thrown) => {
        this.failed(thrown);
        this.ended();
      },
    );
  }

  stop(error: ConnectError): void {
    if (!this.hasEnded) {
      this.fail(error);
      this.end(error);
    }
  }

  cancel(error: ConnectError): void {
    this.end(error);
  }

  tick(): void {
    if (sendHeartbeat(this.link, this.request.reply ?? "", ++this.quiet)) {
      this.quiet = 0;
    }
  }

  private async runStored(object: string): Promise<Result> {
    const { method, settings } = this.served;
    const { readMaxBytes } = settings.limits;
    const space = directSpace(method);
    return this.handle(await this.link.payloads.get(method.service, object, space, readMaxBytes));
  }

  private handle(bytes: Uint8Array): Result | Promise<Result> {
    const { desc } = this.served.method;
    const contentType = this.request.headers?.get(Header.contentType);
    if (contentType) {
      this.encoding = encodingOf(contentType);
    }
    checkSize(desc.input, bytes, this.served.settings.limits, "readMaxBytes");
    const message = decodeRequest(desc, bytes, this.encoding);
    // A call that was canceled or stopped while its payload was read does not begin.
    return this.hasEnded ? {} : watchedHandler(this.served, this.watch)(message, this.context);
  }

  private failed(thrown: unknown): void {
    if (!this.hasEnded) {
      this.fail(callerError(thrown, this.served, this.watch));
      this.context.abort(thrown);
    }
  }

  private ended(): void {
    this.served.stats.ended(this.beganAt);
    this.end();
  }

  private end(reason?: ConnectError): void {
    this.hasEnded = true;
    this.watch?.end(reason);
    this.context.abort(reason);
  }

  /** Returns a promise when the response is too large for one message. */
  private respond(result: Result): Promise<void> | undefined {
    if (this.hasEnded) {
      return undefined;
    }
    const { desc } = this.served.method;
    const payload = encodeResponse(desc, result, this.encoding);
    checkSize(desc.output, payload, this.served.settings.limits, "writeMaxBytes");
    let headers = this.context.responseMetadata(this.link.maxPayload);
    if (this.encoding === "json") {
      headers = new HeaderBlock().add(Header.contentType, jsonType).append(headers);
    }
    if (isOversize(payload, headerSize(headers), this.link.maxPayload)) {
      return this.respondStored(payload, headers ?? new HeaderBlock());
    }
    this.publish(payload, headers);
    return undefined;
  }

  private async respondStored(payload: Uint8Array, headers: HeaderBlock): Promise<void> {
    const object = await this.link.payloads.putDirect(this.served.method, payload);
    if (this.hasEnded) {
      this.link.payloads.delete(this.served.method.service, object);
    } else {
      this.publish(nothing, headers.add(Header.payload, object));
    }
  }

  /** Never throws: nobody could catch it. */
  private fail(error: ConnectError): void {
    const { encoding, served, link, context } = this;
    served.stats.failed(error);
    this.watch?.end(error);
    try {
      const { headers, payload } = encodeStatus(context.withTrailer(error), {
        maxBytes: link.maxPayload - contentTypeBytes,
        header: context.leadingMetadata,
        encoding,
      });
      if (encoding === "json") {
        headers.add(Header.contentType, jsonType);
      }
      this.publish(payload, headers);
    } catch (cause) {
      reportUnsent(served, cause);
    }
  }

  private publish(payload: Uint8Array, headers: HeaderBlock | undefined): void {
    const { reply } = this.request;
    if (!reply || this.link.nats.isClosed()) {
      return;
    }
    this.served.settings.responses.send(reply, payload, headers);
  }
}
