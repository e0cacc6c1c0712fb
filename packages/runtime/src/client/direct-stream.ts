import type {
  DescMessage,
  DescMethodStreaming,
  MessageInitShape,
  MessageShape,
} from "@bufbuild/protobuf";
import { Code, ConnectError, type StreamResponse } from "@connectrpc/connect";
import type { Msg } from "@nats-io/nats-core";
import { isNoResponders, type Link } from "../link/link.js";
import { denial, type Reply } from "../link/mux.js";
import { canceled } from "../link/pending-reply.js";
import { StreamSide } from "../link/stream-side.js";
import { startTimer } from "../link/timer.js";
import { checkSize, decode, encode, type MessageLimits } from "../message/codec.js";
import { type ControlFrame, controlHeaders } from "../message/frame.js";
import { HeaderBlock, headerSize } from "../message/header.js";
import { appendMetadata, readMetadata } from "../message/metadata.js";
import { addKind, otherKind } from "../message/method-kind.js";
import { noRequest } from "../message/only-message.js";
import { isOversize } from "../message/oversize.js";
import { decodeStatus, isStatus } from "../message/status.js";
import { toConnectError } from "../message/thrown.js";
import type { MethodBinding } from "../schema/binding.js";
import {
  type CallArguments,
  type DirectRequest,
  directHeaders,
  outOfTime,
  storeRequest,
} from "./direct-request.js";
import { explainNoWorker } from "./no-worker.js";
import { acceptProblem, StreamOpening } from "./stream-opening.js";

/**
 * Calls a streaming method over core NATS. Resolves when the response header is
 * there: with the first message, or at the end.
 *
 * Errors, here or from the messages: what the handler threw; Unavailable at once
 * when no worker serves the method or the connection is lost, and within seconds
 * when the worker is lost; DeadlineExceeded; Canceled; ResourceExhausted when a
 * message is larger than the limits.
 */
export function callDirectStream<I extends DescMessage, O extends DescMessage>(
  link: Link,
  method: MethodBinding,
  desc: DescMethodStreaming<I, O>,
  input: AsyncIterable<MessageInitShape<I>>,
  call: CallArguments,
  limits: MessageLimits,
): Promise<StreamResponse<I, O>> {
  return new ClientStream<I, O>(link, method, desc, input, call, limits).open();
}

/** How a call ends. */
type Outcome =
  /** The worker ended it after so many data frames, well or with an error. */
  | { readonly by: "worker"; readonly frames: number; readonly error: ConnectError | undefined }
  /** This side leaves, and tells the worker so. */
  | { readonly by: "caller"; readonly error: ConnectError }
  /** There is no worker, or none that can be told. */
  | { readonly by: "loss"; readonly error: ConnectError };

class ClientStream<I extends DescMessage, O extends DescMessage>
  extends StreamSide<MessageShape<O>>
  implements Reply
{
  readonly inbox: string;
  private readonly token: number;
  private readonly requests: AsyncIterator<MessageInitShape<I>>;
  private readonly trailer = new Headers();
  private header: Headers | undefined;
  private resolveOpen: (response: StreamResponse<I, O>) => void = () => undefined;
  private rejectOpen: (error: ConnectError) => void = () => undefined;
  private stopTimer: (() => void) | undefined;
  private opening: StreamOpening | undefined;
  private isClosed = false;
  private object: string | undefined;

  constructor(
    link: Link,
    private readonly method: MethodBinding,
    private readonly desc: DescMethodStreaming<I, O>,
    input: AsyncIterable<MessageInitShape<I>>,
    private readonly call: CallArguments,
    private readonly limits: MessageLimits,
  ) {
    super(link, {
      decode: (bytes) => decode(desc.output, bytes, Code.Internal),
      malformed: Code.Internal,
      onReturn: () => this.leave(canceled(call.signal)),
      readMaxBytes: limits.readMaxBytes,
    });
    this.inbox = link.mux.routeOf(method).inbox;
    this.token = link.mux.open(this);
    this.requests = input[Symbol.asyncIterator]();
  }

  open(): Promise<StreamResponse<I, O>> {
    return new Promise((resolve, reject) => {
      this.resolveOpen = resolve;
      this.rejectOpen = reject;
      this.send().catch((error) => this.lose(toConnectError(error)));
    });
  }

  protected get own(): string {
    return this.inbox + this.token;
  }

  publishesTo(subject: string): boolean {
    return (
      subject === this.method.directSubject ||
      (this.peer !== undefined && subject.startsWith(this.peer))
    );
  }

  disconnected(): void {
    const text = `the connection to NATS was lost while ${this.desc.toString()} was under way: it may have run`;
    this.lose(new ConnectError(text, Code.Unavailable));
  }

  denied(cause: Error): void {
    this.leave(denial(this.method.directSubject, cause));
  }

  protected lost(error: ConnectError): void {
    this.leave(error);
  }

  protected broken(error: ConnectError): void {
    this.leave(error);
  }

  protected receiveControl(message: Msg, control: ControlFrame | undefined): void {
    if (isNoResponders(message)) {
      this.noResponders();
      return;
    }
    switch (control?.kind) {
      case "accept":
        this.accept(message, control.bytes);
        break;
      case "header":
        this.respond(readMetadata(message.headers));
        break;
      case "end":
        this.end(message, control.frames);
        break;
      default:
        if (isStatus(message)) {
          this.end(message, 0);
        } else if (this.peer) {
          const text = `${this.desc.toString()} was answered by what is no frame of a stream`;
          this.leave(new ConnectError(text, Code.Internal));
        } else {
          this.leave(otherKind(this.desc, "unary"));
        }
    }
  }

  override receive(message: Msg): void {
    if (!this.peer && !message.headers) {
      // Frames come after what accepts the stream.
      this.leave(otherKind(this.desc, "unary"));
      return;
    }
    if (!this.header && !message.headers) {
      // The first message came without a response header before it.
      this.respond(new Headers());
    }
    super.receive(message);
  }

  private async send(): Promise<void> {
    const { signal, timeoutMs = this.method.timeoutMs } = this.call;
    if (signal?.aborted) {
      throw canceled(signal);
    }
    signal?.addEventListener("abort", this.aborted);
    if (timeoutMs > 0) {
      const expire = () => this.leave(outOfTime(this.method, timeoutMs));
      this.stopTimer = startTimer(expire, timeoutMs);
    }
    const isOne = this.desc.methodKind === "server_streaming";
    const first = isOne ? await this.requests.next() : undefined;
    if (first?.done) {
      throw noRequest(this.desc);
    }
    const payload = first ? this.encode(first.value) : new Uint8Array(0);
    const headers = directHeaders(this.call, this.link.maxPayload) ?? new HeaderBlock();
    addKind(headers, this.desc).append(controlHeaders("credit", this.inflow.initial));
    let request: DirectRequest = { payload, headers };
    if (isOversize(payload, headerSize(headers), this.link.maxPayload)) {
      request = await storeRequest(this.link, this.method, payload, headers);
      this.object = request.object;
    }
    if (this.isClosed) {
      this.deleteObject();
      return;
    }
    this.opening = new StreamOpening(this.link, this.method, this.own, request, (error) =>
      this.lose(error),
    );
    this.opening.send();
  }

  override heard(): void {
    super.heard();
    this.opening?.heard();
  }

  /** No silence counts before there is something to answer. */
  override tick(): void {
    if (this.opening?.isSent) {
      super.tick();
    }
  }

  private encode(request: MessageInitShape<I>): Uint8Array {
    const bytes = encode(this.desc.input, request, Code.InvalidArgument);
    checkSize(this.desc.input, bytes, this.limits, "writeMaxBytes");
    return bytes;
  }

  private noResponders(): void {
    if (this.peer) {
      this.leave(
        new ConnectError(`the worker that ran ${this.desc.toString()} is gone`, Code.Unavailable),
      );
    } else if (!this.opening?.sendToBusy()) {
      // Nobody serves the method: it is not that everybody is busy.
      void explainNoWorker(this.link, this.method).then((error) => this.lose(error));
    }
  }

  private accept(message: Msg, credit: number | undefined): void {
    if (this.peer) {
      return;
    }
    const { reply = "" } = message;
    const problem = acceptProblem(this.method, message);
    if (problem) {
      this.leave(problem);
      return;
    }
    this.peer = reply;
    this.outflow.begin(credit);
    this.opening?.close();
    if (this.desc.methodKind !== "server_streaming") {
      // Internal, as Connect has it over HTTP/2: what the caller's own generator threw.
      this.sendRequests().catch((error) => this.leave(toConnectError(error, Code.Internal)));
    }
  }

  private async sendRequests(): Promise<void> {
    for (;;) {
      const next = await this.requests.next();
      if (this.isClosed) {
        return;
      }
      if (next.done) {
        await this.publishEnd();
        return;
      }
      const room = this.outflow.write(this.encode(next.value));
      if (room) {
        await room;
      }
    }
  }

  private respond(header: Headers): void {
    if (this.header) {
      return;
    }
    this.header = header;
    this.resolveOpen({
      stream: true,
      service: this.desc.parent,
      method: this.desc,
      header,
      trailer: this.trailer,
      message: this.inflow,
    });
  }

  /** The worker has ended the call. */
  private end(message: Msg, frames: number): void {
    appendMetadata(this.trailer, readMetadata(message.headers, "trailer"));
    let error: ConnectError | undefined;
    if (isStatus(message)) {
      error = decodeStatus(message);
      // As in Connect, an error has all metadata of the response.
      if (this.header) {
        appendMetadata(error.metadata, this.header);
      }
    }
    this.finish({ by: "worker", frames, error });
  }

  private readonly aborted = (): void => {
    const error = canceled(this.call.signal);
    // Messages that have come are not read any more.
    this.inflow.abort(error);
    this.leave(error);
  };

  private leave(error: ConnectError): void {
    this.finish({ by: "caller", error });
  }

  private lose(error: ConnectError): void {
    this.finish({ by: "loss", error });
  }

  /** Every call ends here, once; with an error, after the messages that have arrived. */
  private finish(outcome: Outcome): void {
    if (this.isClosed) {
      return;
    }
    this.isClosed = true;
    if (outcome.by === "caller") {
      this.link.cancel(this.method.cancelSubject, this.own);
    }
    this.link.mux.close(this.token);
    this.stopTimer?.();
    this.call.signal?.removeEventListener("abort", this.aborted);
    this.opening?.close();
    this.deleteObject();
    // Nobody reads requests any more. Lets their generator clean up.
    this.outflow.fail(new ConnectError("the call has ended", Code.Canceled));
    (async () => await this.requests.return?.())().catch(() => undefined);
    if (outcome.by === "worker") {
      this.respond(new Headers());
      this.inflow.end(outcome.frames, outcome.error);
    } else {
      if (this.header) {
        // Nobody repeats it any more, and perhaps nobody reads on.
        this.call.watch?.end(outcome.error);
      }
      this.inflow.fail(outcome.error);
      this.rejectOpen(outcome.error);
    }
  }

  private deleteObject(): void {
    if (this.object) {
      this.link.payloads.delete(this.method.service, this.object);
      this.object = undefined;
    }
  }
}
