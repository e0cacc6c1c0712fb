import type {
  DescMessage,
  DescMethodUnary,
  MessageInitShape,
  MessageShape,
} from "@bufbuild/protobuf";
import { Code, ConnectError, type UnaryResponse } from "@connectrpc/connect";
import type { Msg } from "@nats-io/nats-core";
import { isNoResponders, type Link } from "../link/link.js";
import type { Route } from "../link/mux.js";
import { PendingReply, type Request } from "../link/pending-reply.js";
import { checkSize, decode, encode, type MessageLimits } from "../message/codec.js";
import { neverRan, neverRanCopy } from "../message/error-marks.js";
import { Header, headerSize } from "../message/header.js";
import { LateCode } from "../message/late-code.js";
import { kindConflict, otherKind } from "../message/method-kind.js";
import { isOversize } from "../message/oversize.js";
import { defectOf } from "../message/readable.js";
import { decodeStatus, isStatus } from "../message/status.js";
import { toConnectError } from "../message/thrown.js";
import type { MethodBinding } from "../schema/binding.js";
import { directSpace } from "../schema/direct-space.js";
import {
  type CallArguments,
  type DirectRequest,
  deadlineOf,
  directHeaders,
  storeRequest,
} from "./direct-request.js";
import { LazyUnaryResponse } from "./unary-response.js";
import { untilAborted } from "./until-aborted.js";

const noWorker = /* @__PURE__ */ new LateCode("discovery", () => import("./no-worker.js"));

/**
 * Calls a unary method by core NATS request and reply: at most once.
 *
 * Errors of a call: those that the handler threw; Unavailable at once when no worker serves
 * the method or the connection is lost; DeadlineExceeded; Canceled; ResourceExhausted when a
 * message is larger than the limits.
 */
export class DirectMethod<
  I extends DescMessage = DescMessage,
  O extends DescMessage = DescMessage,
> {
  private readonly route: Route;

  constructor(
    readonly link: Link,
    readonly method: MethodBinding,
    readonly desc: DescMethodUnary<I, O>,
    readonly limits: MessageLimits,
  ) {
    this.route = link.mux.routeOf(method);
  }

  /** Resolves to the response as Connect's transports have it. */
  respond(request: MessageInitShape<I>, call: CallArguments): Promise<UnaryResponse<I, O>> {
    return new Promise((resolve, reject) => {
      const answer = (message: MessageShape<O>, wire: Msg) =>
        resolve(new LazyUnaryResponse<I, O>(this.desc, message, wire));
      this.start(request, call, answer, reject);
    });
  }

  /**
   * Resolves to the message of the response: one object and one promise less than the response.
   * Ends the call's watch.
   */
  message(request: MessageInitShape<I>, call: CallArguments): Promise<MessageShape<O>> {
    const { watch } = call;
    return new Promise((resolve, reject) => {
      if (!watch) {
        this.start(request, call, resolve, reject);
        return;
      }
      const failed = (error: unknown) => {
        watch.end(toConnectError(error));
        reject(error);
      };
      const answer = (message: MessageShape<O>) => {
        watch.end();
        resolve(message);
      };
      try {
        this.start(request, call, answer, failed);
      } catch (error) {
        failed(error);
      }
    });
  }

  /** Throws when the request cannot be sent as it is. */
  private start(
    request: MessageInitShape<I>,
    call: CallArguments,
    answer: Answer<O>,
    reject: (error: unknown) => void,
  ): void {
    const { link, desc, method } = this;
    const payload = encode(desc.input, request, Code.InvalidArgument);
    checkSize(desc.input, payload, this.limits, "writeMaxBytes");
    const headers = directHeaders(call, link.maxPayload);
    const wire: Request = {
      subject: method.directSubject,
      payload,
      headers,
      timeoutMs: call.timeoutMs ?? method.timeoutMs,
      beganAt: undefined,
      signal: call.signal,
      route: this.route,
      worker: method,
    };
    if (isOversize(payload, headerSize(headers), link.maxPayload)) {
      this.startStored(wire, answer, reject);
    } else {
      new UnaryReply(this, wire, undefined, answer, reject).send();
    }
  }

  /** Stores the payload first, in the time of the call. */
  private startStored(wire: Request, answer: Answer<O>, reject: (error: unknown) => void): void {
    const { link, method } = this;
    const { timeoutMs, signal } = wire;
    const beganAt = performance.now();
    let stored: Promise<Required<DirectRequest>> | undefined;
    const store = () => {
      stored = storeRequest(link, method, wire.payload, wire.headers);
      return stored;
    };
    untilAborted(signal, store, deadlineOf(method, timeoutMs, timeoutMs)).then(
      ({ payload, headers, object }) =>
        new UnaryReply(this, { ...wire, payload, headers, beganAt }, object, answer, reject).send(),
      (error) => {
        reject(neverRanCopy(toConnectError(error)));
        stored?.then(
          ({ object }) => link.payloads.delete(method.service, object),
          () => undefined,
        );
      },
    );
  }
}

/** Takes the message of a response, and the NATS message that carried it. */
type Answer<O extends DescMessage> = (message: MessageShape<O>, wire: Msg) => void;

/** A unary call that waits for its response. */
class UnaryReply<I extends DescMessage, O extends DescMessage> extends PendingReply {
  constructor(
    private readonly called: DirectMethod<I, O>,
    request: Request,
    /** Holds the request when it is large. */
    private readonly object: string | undefined,
    private readonly answer: Answer<O>,
    private readonly reject: (error: unknown) => void,
  ) {
    super(called.link, request);
  }

  protected replied(wire: Msg): void {
    if (wire.headers) {
      this.acknowledge(wire);
      this.readHeaders(wire);
    } else {
      this.respond(wire, wire.data);
    }
  }

  protected failed(error: unknown): void {
    this.deleteObject();
    this.reject(error);
  }

  private readHeaders(wire: Msg): void {
    const defect = defectOf(wire);
    if (defect) {
      const text = `the response of ${this.called.desc.toString()} cannot be read: ${defect}`;
      this.failed(new ConnectError(text, Code.Internal));
    } else if (isNoResponders(wire)) {
      this.nobody();
    } else if (isStatus(wire)) {
      this.failed(decodeStatus(wire));
    } else if (wire.headers?.has(Header.frame)) {
      // A worker that streams has begun.
      this.failed(
        kindConflict(this.called.desc, wire.headers) ??
          otherKind(this.called.desc, "one that streams"),
      );
      this.leaveWorker();
    } else {
      const stored = wire.headers?.get(Header.payload);
      if (stored) {
        this.readStored(stored)
          .then((bytes) => this.respond(wire, bytes))
          .catch((error) => this.failed(error));
      } else {
        this.respond(wire, wire.data);
      }
    }
  }

  /** Reads a response that is an object, and removes it. */
  private readStored(reference: string): Promise<Uint8Array> {
    const { method, limits } = this.called;
    const { payloads } = this.link;
    const { signal, timeoutMs } = this.request;
    const read = async () => {
      const space = directSpace(method);
      const bytes = await payloads.get(method.service, reference, space, limits.readMaxBytes);
      payloads.delete(method.service, reference);
      return bytes;
    };
    return untilAborted(signal, read, deadlineOf(method, timeoutMs, this.leftMs));
  }

  /** Tells a worker that waits for it that all it has sent until now has come. */
  private acknowledge({ headers, reply = "" }: Msg): void {
    // A worker must not have its callers publish where it may not itself.
    if (headers?.has(Header.ack) && reply.startsWith(`${this.called.method.service.ackSubject}.`)) {
      this.link.publish(reply);
    }
  }

  private respond(wire: Msg, bytes: Uint8Array): void {
    const { output } = this.called.desc;
    checkSize(output, bytes, this.called.limits, "readMaxBytes");
    this.answer(decode(output, bytes, Code.Internal), wire);
    this.deleteObject();
  }

  /** Either nobody serves the method, or everybody is busy. */
  private nobody(): void {
    const { called, object, answer, reject } = this;
    const { waitSubject } = called.method;
    if (this.request.subject === waitSubject) {
      noWorker
        .get()
        .then((code) => code.explainNoWorker(this.link, called.method))
        .then(
          (error) => this.failed(error),
          (error) => this.failed(neverRan(error)),
        );
      return;
    }
    const request = { ...this.request, subject: waitSubject };
    new UnaryReply(called, request, object, answer, reject).send();
  }

  private deleteObject(): void {
    if (this.object) {
      this.link.payloads.delete(this.called.method.service, this.object);
    }
  }
}
