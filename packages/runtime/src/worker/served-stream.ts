import type { DescMessage, MessageInitShape, MessageShape } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";
import type { Msg } from "@nats-io/nats-core";
import { isNoResponders, type Link } from "../link/link.js";
import type { Watch } from "../link/observer.js";
import { StreamSide } from "../link/stream-side.js";
import { checkSize, decode, encode } from "../message/codec.js";
import { encodingOf } from "../message/encoding.js";
import { type ControlFrame, controlHeaders, parseControl } from "../message/frame.js";
import { Header } from "../message/header.js";
import { addKind } from "../message/method-kind.js";
import { encodeStatus } from "../message/status.js";
import { directSpace } from "../schema/direct-space.js";
import type { DirectHandlerContext } from "./context.js";
import { createContext, type ServedCall } from "./served-call.js";
import { callerError, reportUnsent, type ServedMethod } from "./served-method.js";
import { watchedHandler } from "./watched-handler.js";

const nothing = new Uint8Array(0);

/** Ends what is read or written after the end of the call. */
const ended = new ConnectError("the call has ended", Code.Canceled);

/** A streaming direct call: it stays with the worker that took its request. */
export class ServedStream extends StreamSide<MessageShape<DescMessage>> implements ServedCall {
  private readonly context: DirectHandlerContext;
  private isHeaderSent = false;
  private hasEnded = false;
  private watch: Watch | undefined;

  constructor(
    link: Link,
    private readonly served: ServedMethod,
    private readonly request: Msg,
    /** Subject that this stream's frames come to. */
    protected readonly own: string,
  ) {
    const { method, settings } = served;
    super(link, {
      decode: (bytes) => decode(method.desc.input, bytes, Code.InvalidArgument),
      malformed: Code.InvalidArgument,
      onReturn: () => undefined,
      readMaxBytes: settings.limits.readMaxBytes,
    });
    this.peer = request.reply;
    const opening = request.headers && parseControl(request);
    this.outflow.begin(opening?.kind === "credit" ? opening.bytes : undefined);
    if (this.takesOne) {
      // No frame comes, and what others may send is not divided by one more.
      this.inflow.end(0);
    }
    this.context = createContext(method, request);
  }

  get reply(): string | undefined {
    return this.request.reply;
  }

  async run(): Promise<void> {
    const beganAt = this.served.stats.began();
    this.watch = this.link.observer?.handling?.(this.served.method, this.request.headers);
    try {
      const accept = controlHeaders("accept", this.inflow.initial);
      this.publish(nothing, addKind(accept, this.served.method.desc), this.own);
      await this.respond();
      await this.publishLast();
    } catch (thrown) {
      this.context.abort(thrown);
      await this.fail(callerError(thrown, this.served, this.watch));
    } finally {
      this.served.stats.ended(beganAt);
      this.end();
    }
  }

  stop(error: ConnectError): void {
    this.publishStatus(error);
    this.end(error);
  }

  cancel(error: ConnectError): void {
    this.end(error);
  }

  protected lost(error: ConnectError): void {
    this.end(error);
  }

  /** Frames that cannot be read are the caller's fault, and the caller's call ends. */
  protected broken(error: ConnectError): void {
    this.stop(error);
  }

  protected receiveControl(message: Msg, control: ControlFrame | undefined): void {
    if (isNoResponders(message)) {
      this.end(new ConnectError("the caller is gone", Code.Canceled));
    } else if (control?.kind === "end") {
      this.inflow.end(control.frames);
    } else {
      this.stop(
        new ConnectError("what came is no frame of a stream of requests", Code.InvalidArgument),
      );
    }
  }

  /** Runs the handler and sends what it gives. */
  private async respond(): Promise<void> {
    const input = this.takesOne ? await this.onlyRequest() : this.inflow;
    if (this.hasEnded) {
      return;
    }
    const response: unknown = watchedHandler(this.served, this.watch)(input, this.context);
    if (this.served.method.desc.methodKind === "client_streaming") {
      await this.write((await response) as MessageInitShape<DescMessage>);
      return;
    }
    for await (const message of response as AsyncIterable<MessageInitShape<DescMessage>>) {
      const room = this.write(message);
      if (room) {
        await room;
      }
    }
  }

  private get takesOne(): boolean {
    return this.served.method.desc.methodKind === "server_streaming";
  }

  private async onlyRequest(): Promise<MessageShape<DescMessage>> {
    const { method, settings } = this.served;
    const { limits } = settings;
    const { input } = method.desc;
    const { headers } = this.request;
    if (encodingOf(headers?.get(Header.contentType) ?? "") === "json") {
      throw new ConnectError(
        "JSON is for unary calls: send binary protobuf to a method that streams",
        Code.InvalidArgument,
      );
    }
    const stored = headers?.get(Header.payload);
    const bytes = stored
      ? await this.link.payloads.get(
          method.service,
          stored,
          directSpace(method),
          limits.readMaxBytes,
        )
      : this.request.data;
    checkSize(input, bytes, limits, "readMaxBytes");
    return decode(input, bytes, Code.InvalidArgument);
  }

  private write(message: MessageInitShape<DescMessage>): Promise<void> | undefined {
    const { output } = this.served.method.desc;
    const bytes = encode(output, message, Code.Internal);
    checkSize(output, bytes, this.served.settings.limits, "writeMaxBytes");
    this.publishHeader();
    return this.outflow.write(bytes);
  }

  /** Leads the first message; a header without metadata is left out. */
  private publishHeader(): void {
    if (this.isHeaderSent) {
      return;
    }
    this.isHeaderSent = true;
    const header = this.context.responseMetadata(this.link.maxPayload, "header");
    if (header) {
      this.publish(nothing, controlHeaders("header").append(header));
    }
  }

  private publishLast(): Promise<void> {
    return this.publishEnd((headers) => {
      this.publishHeader();
      headers.append(this.context.responseMetadata(this.link.maxPayload, "trailer"));
      return nothing;
    });
  }

  /** Ends the call with an error, after the messages before it. */
  private async fail(error: ConnectError): Promise<void> {
    if (this.hasEnded) {
      return;
    }
    try {
      await this.outflow.drain();
    } catch {
      // The call was ended meanwhile.
    }
    this.publishStatus(error);
  }

  /** Never throws: nobody could catch it. */
  private publishStatus(error: ConnectError): void {
    if (this.hasEnded) {
      return;
    }
    const { served, link, outflow } = this;
    served.stats.failed(error);
    this.watch?.end(error);
    try {
      this.publishHeader();
    } catch {
      // It is too large. The error that the call has for that is this one, or comes first.
    }
    try {
      const { headers, payload } = encodeStatus(this.context.withTrailer(error), {
        maxBytes: link.maxPayload,
        headers: controlHeaders("end", outflow.frames),
      });
      this.publish(payload, headers);
    } catch (cause) {
      reportUnsent(served, cause);
    }
  }

  private end(reason?: ConnectError): void {
    if (!this.hasEnded) {
      this.hasEnded = true;
      this.watch?.end(reason);
      this.peer = undefined;
      this.context.abort(reason);
      this.outflow.fail(reason ?? ended);
      this.inflow.abort(reason ?? ended);
    }
  }
}
