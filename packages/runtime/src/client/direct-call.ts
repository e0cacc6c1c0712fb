import type { DescMessage, DescMethodUnary, MessageInitShape } from "@bufbuild/protobuf";
import { Code, ConnectError, type UnaryResponse } from "@connectrpc/connect";
import type { Msg } from "@nats-io/nats-core";
import { isNoResponders, type Link } from "../link/link.js";
import { PendingReply, type Request } from "../link/pending-reply.js";
import { checkSize, decode, encode, type MessageLimits } from "../message/codec.js";
import { neverRan } from "../message/error-marks.js";
import { Header, type HeaderBlock, headerSize } from "../message/header.js";
import { kindConflict, otherKind } from "../message/method-kind.js";
import { defectOf } from "../message/readable.js";
import { decodeStatus, isStatus } from "../message/status.js";
import { toConnectError } from "../message/thrown.js";
import { isOversize } from "../objects/payload-store.js";
import type { MethodBinding } from "../schema/binding.js";
import { directSpace } from "../schema/object-name.js";
import { type CallArguments, directHeaders, storeRequest, withinCall } from "./direct-request.js";
import { explainNoWorker } from "./no-worker.js";
import { LazyUnaryResponse } from "./unary-response.js";

/**
 * Calls a unary method by core NATS request and reply: at most once.
 *
 * Errors: what the handler threw; Unavailable at once when no worker serves the
 * method or the connection is lost; DeadlineExceeded; Canceled;
 * ResourceExhausted when a message is larger than the limits.
 */
export function callDirect<I extends DescMessage, O extends DescMessage>(
  link: Link,
  method: MethodBinding,
  desc: DescMethodUnary<I, O>,
  request: MessageInitShape<I>,
  call: CallArguments,
  limits: MessageLimits,
): Promise<UnaryResponse<I, O>> {
  // The common call makes this one promise, and no header.
  return new Promise((resolve, reject) => {
    const payload = encode(desc.input, request, Code.InvalidArgument);
    checkSize(desc.input, payload, limits, "writeMaxBytes");
    const headers = directHeaders(call, link.maxPayload);
    const { signal, timeoutMs = method.timeoutMs } = call;
    const ask = (
      bytes: Uint8Array,
      block: HeaderBlock | undefined,
      object?: string,
      beganAt?: number,
    ) => {
      new UnaryReply(
        link,
        {
          subject: method.directSubject,
          payload: bytes,
          headers: block,
          timeoutMs,
          beganAt,
          signal,
          route: link.mux.routeOf(method),
          worker: method,
        },
        method,
        desc,
        limits,
        object,
        resolve as (response: UnaryResponse) => void,
        reject,
      ).send();
    };
    if (isOversize(payload, headerSize(headers), link.maxPayload)) {
      const beganAt = performance.now();
      const stored = storeRequest(link, method, payload, headers);
      withinCall(method, signal, timeoutMs, timeoutMs, stored).then(
        (large) => ask(large.payload, large.headers, large.object, beganAt),
        (error) => {
          reject(neverRan(toConnectError(error)));
          stored.then(
            ({ object }) => link.payloads.delete(method.service, object),
            () => undefined,
          );
        },
      );
    } else {
      ask(payload, headers);
    }
  });
}

/** A unary call that waits for its response. */
class UnaryReply extends PendingReply {
  constructor(
    link: Link,
    request: Request,
    private readonly method: MethodBinding,
    private readonly desc: DescMethodUnary,
    private readonly limits: MessageLimits,
    /** Holds the request when it is large. */
    private readonly object: string | undefined,
    private readonly resolve: (response: UnaryResponse) => void,
    private readonly reject: (error: unknown) => void,
  ) {
    super(link, request);
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
      const text = `the response of ${this.desc.toString()} cannot be read: ${defect}`;
      this.failed(new ConnectError(text, Code.Internal));
    } else if (isNoResponders(wire)) {
      this.nobody();
    } else if (isStatus(wire)) {
      this.failed(decodeStatus(wire));
    } else if (wire.headers?.has(Header.frame)) {
      // A worker that streams has begun.
      this.failed(
        kindConflict(this.desc, wire.headers) ?? otherKind(this.desc, "one that streams"),
      );
      this.leaveWorker();
    } else {
      const { service } = this.method;
      const { payloads } = this.link;
      const stored = wire.headers?.get(Header.payload);
      if (stored) {
        const space = directSpace(this.method);
        const read = payloads
          .get(service, stored, space, this.limits.readMaxBytes)
          .then((bytes) => {
            payloads.delete(service, stored);
            return bytes;
          });
        const { signal, timeoutMs } = this.request;
        withinCall(this.method, signal, timeoutMs, this.leftMs, read)
          .then((bytes) => this.respond(wire, bytes))
          .catch((error) => this.failed(error));
      } else {
        this.respond(wire, wire.data);
      }
    }
  }

  /** Tells a worker that waits for it that all it has sent until now has come. */
  private acknowledge({ headers, reply = "" }: Msg): void {
    // A worker must not have its callers publish where it may not itself.
    if (headers?.has(Header.ack) && reply.startsWith(`${this.method.service.ackSubject}.`)) {
      this.link.publish(reply);
    }
  }

  private respond(wire: Msg, bytes: Uint8Array): void {
    const { output } = this.desc;
    checkSize(output, bytes, this.limits, "readMaxBytes");
    this.resolve(new LazyUnaryResponse(this.desc, decode(output, bytes, Code.Internal), wire));
    this.deleteObject();
  }

  /** Either nobody serves the method, or everybody is busy. */
  private nobody(): void {
    const { waitSubject } = this.method;
    if (this.request.subject === waitSubject) {
      void explainNoWorker(this.link, this.method).then((error) => this.failed(error));
      return;
    }
    const { link, method, desc, limits, object, resolve, reject } = this;
    const request = { ...this.request, subject: waitSubject };
    new UnaryReply(link, request, method, desc, limits, object, resolve, reject).send();
  }

  private deleteObject(): void {
    if (this.object) {
      this.link.payloads.delete(this.method.service, this.object);
    }
  }
}
