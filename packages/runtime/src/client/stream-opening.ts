import { Code, ConnectError } from "@connectrpc/connect";
import type { Msg } from "@nats-io/nats-core";
import type { Link } from "../link/link.js";
import type { Sendable } from "../link/send-window.js";
import { neverRan } from "../message/error-marks.js";
import { importedReply } from "../message/frame.js";
import { quote } from "../message/header.js";
import { kindConflict } from "../message/method-kind.js";
import { toConnectError } from "../message/thrown.js";
import type { MethodBinding } from "../schema/binding.js";
import type { DirectRequest } from "./direct-request.js";

/**
 * The request that opens a stream. It waits until what is under way leaves room for it,
 * and is kept until a worker has it: it may have to be sent to busy workers, too.
 */
export class StreamOpening implements Sendable {
  /** For its window alone. */
  taken = 0;
  isSent = false;
  private wasBusy = false;

  constructor(
    private readonly link: Link,
    private readonly method: MethodBinding,
    private readonly reply: string,
    private request: DirectRequest | undefined,
    private readonly onFailed: (error: ConnectError) => void,
  ) {}

  send(): void {
    this.window.enter(this);
  }

  sendNow(): void {
    const { request } = this;
    if (!request) {
      return;
    }
    try {
      if (!this.link.connected) {
        throw neverRan(this.link.lost);
      }
      this.publish(this.method.directSubject, request);
      this.isSent = true;
      this.window.take(this, request.payload.length);
    } catch (error) {
      this.onFailed(toConnectError(error));
    }
  }

  /** Sends it to where busy workers look. False when that has been done. */
  sendToBusy(): boolean {
    if (this.wasBusy || !this.request) {
      return false;
    }
    this.wasBusy = true;
    this.publish(this.method.waitSubject, this.request);
    return true;
  }

  /** A worker is heard of: the request waits in no server any more. */
  heard(): void {
    this.window.free(this);
  }

  /** It is not sent any more. */
  close(): void {
    this.request = undefined;
    this.window.free(this);
  }

  private get window() {
    return this.link.mux.routeOf(this.method).window;
  }

  private publish(subject: string, { payload, headers }: DirectRequest): void {
    const { reply } = this;
    this.link.nats.publish(subject, payload, {
      reply,
      ...(headers && { headers: headers.asHeaders() }),
    });
  }
}

/** Why the worker that accepts a stream cannot have it; undefined when it can. */
export function acceptProblem(
  { desc, streamSubject }: MethodBinding,
  { reply = "", headers }: Msg,
): ConnectError | undefined {
  const conflict = kindConflict(desc, headers);
  // A worker must not have its callers publish where it may not itself.
  if (conflict || reply.startsWith(`${streamSubject}.`)) {
    return conflict;
  }
  return reply.startsWith(importedReply)
    ? new ConnectError(
        `${desc.toString()} streams, and its worker is in another account: a service import passes unary calls only. Connect to the worker's account`,
        Code.FailedPrecondition,
      )
    : new ConnectError(
        `${desc.toString()} was accepted on ${quote(reply)}, which is none of its streams`,
        Code.Internal,
      );
}
