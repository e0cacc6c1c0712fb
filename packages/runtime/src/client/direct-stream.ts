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
import type { SendWindow } from "../link/send-window.js";
import { StreamSide } from "../link/stream-side.js";
import { startTimer } from "../link/timer.js";
import { checkSize, decode, encode, type MessageLimits } from "../message/codec.js";
import { neverRan } from "../message/error-marks.js";
import { type ControlFrame, controlHeaders, importedReply } from "../message/frame.js";
import { Header, HeaderBlock, headerSize, quote } from "../message/header.js";
import { appendMetadata, readMetadata } from "../message/metadata.js";
import { addKind, kindConflict, otherKind } from "../message/method-kind.js";
import { decodeStatus, isStatus } from "../message/status.js";
import { toConnectError } from "../message/thrown.js";
import { isOversize } from "../objects/payload-store.js";
import type { MethodBinding } from "../schema/binding.js";
import { type CallArguments, requestHeaders } from "./direct-call.js";
import { explainNoWorker } from "./no-worker.js";

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

class ClientStream<I extends DescMessage, O extends DescMessage>
  extends StreamSide<MessageShape<O>>
  implements Reply
{
  readonly inbox: string;
  private readonly window: SendWindow;
  /** Bytes that the request takes of the window. */
  private taken = 0;
  private readonly token: number;
  private readonly requests: AsyncIterator<MessageInitShape<I>>;
  private readonly trailer = new Headers();
  private header: Headers | undefined;
  private resolveOpen: (response: StreamResponse<I, O>) => void = () => undefined;
  private rejectOpen: (error: ConnectError) => void = () => undefined;
  private stopTimer: (() => void) | undefined;
  /** The request waits where busy workers look. */
  private isWaiting = false;
  private isSent = false;
  private isClosed = false;
  private object: string | undefined;
  private opening: { payload: Uint8Array; headers: HeaderBlock } | undefined;

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
    const { inbox, window } = link.mux.routeOf(method);
    this.inbox = inbox;
    this.window = window;
    this.token = link.mux.open(this);
    this.requests = input[Symbol.asyncIterator]();
  }

  open(): Promise<StreamResponse<I, O>> {
    return new Promise((resolve, reject) => {
      this.resolveOpen = resolve;
      this.rejectOpen = reject;
      this.send().catch((error) => this.fail(toConnectError(error)));
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
    this.fail(
      new ConnectError(
        `the connection to NATS was lost while ${this.desc.toString()} was under way: it may have run`,
        Code.Unavailable,
      ),
    );
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
          this.leave(
            new ConnectError(
              `${this.desc.toString()} was answered by what is no frame of a stream`,
              Code.Internal,
            ),
          );
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
      this.stopTimer = startTimer(() => this.expire(timeoutMs), timeoutMs);
    }
    let payload: Uint8Array = new Uint8Array(0);
    if (this.desc.methodKind === "server_streaming") {
      payload = this.encode(await this.onlyRequest());
    }
    const headers = requestHeaders(this.call, this.link.maxPayload) ?? new HeaderBlock();
    addKind(headers, this.desc).append(controlHeaders("credit", this.inflow.initial));
    if (isOversize(payload, headerSize(headers), this.link.maxPayload)) {
      this.object = await this.link.payloads.putDirect(this.method, payload);
      headers.add(Header.payload, this.object);
      payload = new Uint8Array(0);
    }
    if (this.isClosed) {
      this.deleteObject();
      return;
    }
    this.opening = { payload, headers };
    this.window.enter(this);
  }

  /** Sends the request, now that there is room for it. */
  sendNow(): void {
    if (this.isClosed) {
      return;
    }
    try {
      if (!this.link.connected) {
        throw neverRan(this.link.lost);
      }
      this.publishOpening(this.method.directSubject);
      this.isSent = true;
      this.taken = this.opening?.payload.length ?? 0;
      this.window.take(this.taken);
    } catch (error) {
      this.fail(toConnectError(error));
    }
  }

  private publishOpening(subject: string): void {
    const { payload, headers } = this.opening ?? {};
    this.link.nats.publish(subject, payload, {
      reply: this.own,
      ...(headers && { headers: headers.asHeaders() }),
    });
  }

  /** A worker has the request, or nobody will. */
  private leaveWindow(): void {
    const { taken } = this;
    this.taken = 0;
    this.window.free(taken);
  }

  override heard(): void {
    super.heard();
    this.leaveWindow();
  }

  /** No silence counts before there is something to answer. */
  override tick(): void {
    if (this.isSent) {
      super.tick();
    }
  }

  private async onlyRequest(): Promise<MessageInitShape<I>> {
    const first = await this.requests.next();
    if (first.done) {
      throw new ConnectError(
        `${this.desc.toString()} needs a request message`,
        Code.InvalidArgument,
      );
    }
    return first.value;
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
    } else if (this.isWaiting) {
      void explainNoWorker(this.link, this.method).then((error) => this.fail(error));
    } else {
      // Either nobody serves the method, or everybody is busy.
      this.isWaiting = true;
      this.publishOpening(this.method.waitSubject);
    }
  }

  private accept(message: Msg, credit: number | undefined): void {
    if (this.peer) {
      return;
    }
    const { reply = "", headers } = message;
    const conflict = kindConflict(this.desc, headers);
    if (conflict) {
      this.leave(conflict);
      return;
    }
    // A worker must not have its callers publish where it may not itself.
    if (!reply.startsWith(`${this.method.streamSubject}.`)) {
      this.leave(
        reply.startsWith(importedReply)
          ? new ConnectError(
              `${this.desc.toString()} streams, and its worker is in another account: a service import passes unary calls only. Connect to the worker's account`,
              Code.FailedPrecondition,
            )
          : new ConnectError(
              `${this.desc.toString()} was accepted on ${quote(reply)}, which is none of its streams`,
              Code.Internal,
            ),
      );
      return;
    }
    this.peer = reply;
    this.outflow.begin(credit);
    this.opening = undefined;
    this.leaveWindow();
    if (this.desc.methodKind !== "server_streaming") {
      this.sendRequests().catch((error) => this.leave(toConnectError(error)));
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
    this.respond(new Headers());
    this.close();
    this.inflow.end(frames, error);
  }

  private readonly aborted = (): void => {
    const error = canceled(this.call.signal);
    this.leave(error);
    this.inflow.abort(error);
  };

  private expire(timeoutMs: number): void {
    this.leave(
      new ConnectError(
        `${this.desc.toString()} did not end within ${timeoutMs} ms`,
        Code.DeadlineExceeded,
      ),
    );
  }

  /** Ends the call, and tells the worker. */
  private leave(error: ConnectError): void {
    if (!this.isClosed) {
      this.link.cancel(this.method.cancelSubject, this.own);
      this.fail(error);
    }
  }

  /** Ends the call with an error, after the messages that have arrived. */
  private fail(error: ConnectError): void {
    this.close();
    this.inflow.fail(error);
    this.rejectOpen(error);
  }

  private close(): void {
    if (this.isClosed) {
      return;
    }
    this.isClosed = true;
    this.link.mux.close(this.token);
    this.stopTimer?.();
    this.call.signal?.removeEventListener("abort", this.aborted);
    this.opening = undefined;
    this.leaveWindow();
    this.deleteObject();
    // Nobody reads requests any more. Lets whoever makes the requests clean up.
    this.outflow.fail(new ConnectError("the call has ended", Code.Canceled));
    (async () => await this.requests.return?.())().catch(() => undefined);
  }

  private deleteObject(): void {
    if (this.object) {
      this.link.payloads.delete(this.method.service, this.object);
      this.object = undefined;
    }
  }
}
