import type { DescMessage, MessageInitShape } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";
import type { Msg } from "@nats-io/nats-core";
import type { MethodBinding } from "../wire/binding.js";
import {
  checkSize,
  decode,
  decodeJson,
  type Encoding,
  encode,
  encodeJson,
  encodingOf,
  jsonType,
} from "../wire/codec.js";
import { heartbeatSuffix } from "../wire/frame.js";
import { Header, HeaderBlock, headerSize } from "../wire/header.js";
import type { Link } from "../wire/link.js";
import { isOversize } from "../wire/payload-store.js";
import { quietBeats } from "../wire/pulse.js";
import { encodeStatus } from "../wire/status.js";
import { LazyHandlerContext } from "./context.js";
import type { AnyHandler } from "./handler.js";
import { callerError, type WorkerSettings } from "./settings.js";

const nothing = new Uint8Array(0);

/** Why the signal of a call fires that has ended. */
export const callEnded = new ConnectError("the call has ended", Code.Canceled);

/** A direct call in a worker. */
export interface DirectCall {
  /** Runs the call to its end. Never throws. */
  run(): Promise<void>;
  /** Ends the call with an error before its handler does. */
  stop(error: ConnectError): void;
  /** The caller has left: nobody waits for an answer. */
  cancel(error: ConnectError): void;
  /** A second has passed. */
  tick(): void;
}

/** Time that a request leaves for its call, in ms; 0 for no limit. */
export function requestTimeoutMs(method: MethodBinding, request: Msg): number {
  const wanted = Number(request.headers?.get(Header.timeout));
  return wanted > 0 ? wanted : method.timeoutMs;
}

/** A unary direct call. */
export class UnaryCall implements DirectCall {
  private readonly context: LazyHandlerContext;
  private encoding: Encoding = "binary";
  private hasEnded = false;
  private quiet = 0;

  constructor(
    private readonly link: Link,
    private readonly method: MethodBinding,
    private readonly handler: AnyHandler,
    private readonly settings: WorkerSettings,
    private readonly request: Msg,
  ) {
    this.context = new LazyHandlerContext(method, request, requestTimeoutMs(method, request));
  }

  async run(): Promise<void> {
    const { request, context } = this;
    const { input } = this.method.desc;
    try {
      const stored = request.headers?.get(Header.payload);
      const bytes = stored
        ? await this.link.payloads.get(this.method.service, stored)
        : request.data;
      this.encoding = encodingOf(request.headers?.get(Header.contentType) ?? "");
      checkSize(input, bytes, this.settings.limits, "readMaxBytes");
      const parse = this.encoding === "json" ? decodeJson : decode;
      const message = parse(input, bytes, Code.InvalidArgument);
      if (!this.hasEnded) {
        await this.respond(await this.handler(message, context));
      }
    } catch (thrown) {
      if (!this.hasEnded) {
        this.fail(callerError(thrown, this.method, this.settings));
      }
    } finally {
      this.end(callEnded);
    }
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
    if (++this.quiet >= quietBeats && this.request.reply && this.link.connected) {
      this.quiet = 0;
      this.link.nats.publish(this.request.reply + heartbeatSuffix, nothing);
    }
  }

  private end(reason: ConnectError): void {
    this.hasEnded = true;
    this.context.abort(reason);
  }

  private async respond(result: MessageInitShape<DescMessage>): Promise<void> {
    if (this.hasEnded) {
      return;
    }
    const { output } = this.method.desc;
    const isJson = this.encoding === "json";
    let payload = (isJson ? encodeJson : encode)(output, result, Code.Internal);
    checkSize(output, payload, this.settings.limits, "writeMaxBytes");
    const { header, trailer } = this.context.responseMetadata;
    let headers: HeaderBlock | undefined;
    if (isJson || header || trailer) {
      headers = new HeaderBlock();
      if (isJson) {
        headers.add(Header.contentType, jsonType);
      }
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
      payload = nothing;
    }
    this.publish(payload, headers);
  }

  private fail(error: ConnectError): void {
    const { headers, payload } = encodeStatus(error);
    if (this.encoding === "json") {
      // As Connect writes an error; details are for programs, which read protobuf.
      const text = JSON.stringify({ code: Code[error.code], message: error.rawMessage });
      headers.add(Header.contentType, jsonType);
      this.publish(new TextEncoder().encode(text), headers);
    } else {
      this.publish(payload, headers);
    }
  }

  private publish(payload: Uint8Array, headers: HeaderBlock | undefined): void {
    const { reply } = this.request;
    if (!reply || this.link.nats.isClosed()) {
      return;
    }
    this.link.nats.publish(reply, payload, headers ? { headers: headers.asHeaders() } : undefined);
  }
}
