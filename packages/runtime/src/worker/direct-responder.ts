import { Code, ConnectError } from "@connectrpc/connect";
import type { Msg, Subscription } from "@nats-io/nats-core";
import { type Link, queueGroup } from "../link/link.js";
import { quietBeats } from "../link/pulse.js";
import { createSecret } from "../link/secret.js";
import { SlotTable } from "../link/slot-table.js";
import { heartbeatSuffix } from "../message/frame.js";
import { readTimeoutMs } from "../message/header.js";
import { kindConflict } from "../message/method-kind.js";
import { defectOf } from "../message/readable.js";
import { encodeStatus } from "../message/status.js";
import type { MethodBinding } from "../schema/binding.js";
import { sendHeartbeat } from "./heartbeat.js";
import { isReplySubject } from "./reply-subject.js";
import { requestTimeoutMs, type ServedCall, ServedUnaryCall } from "./served-call.js";
import type { ServedMethod, WorkerSettings } from "./served-method.js";
import { ServedStream } from "./served-stream.js";

/** Most requests that wait here for a free slot. */
const maxWaiting = 10_000;

/** Requests of so many bytes are heard of early: callers bound what nobody may have read yet. */
const largeBytes = 1024;

/** How early, in ms: most calls have ended by then. */
const earlyMs = 20;

/** A request that waits for a free slot, and until when its caller waits. */
interface WaitingRequest {
  readonly request: Msg;
  readonly endsAt: number;
  /** Beats since its caller was sent something. */
  quiet: number;
}

/**
 * Serves the direct calls of one method. While all slots are taken it leaves the
 * queue group, so that other workers take over. When all workers are busy,
 * callers publish to the wait subject, and their requests wait in one of them.
 */
export class DirectResponder {
  private readonly method: MethodBinding;
  private readonly settings: WorkerSettings;
  /** In the queue group; none while it takes nothing. */
  private requests: Subscription | undefined;
  /** Those that left the queue group and may still be given what was sent before. */
  private readonly leaving = new Set<Promise<void>>();
  private waits: Subscription | undefined;
  /** Subscriptions that running calls need. */
  private readonly controls: Subscription[] = [];
  private readonly running = new SlotTable<ServedCall>();
  /** By the last token of the subject that their frames come to. */
  private readonly streams = new Map<string, ServedStream>();
  private readonly waiting: WaitingRequest[] = [];
  /** Calls of large requests that began a moment ago. */
  private readonly young: number[] = [];
  private isStopped = false;
  private nextStream = 0;
  private onIdle: (() => void) | undefined;
  private readonly beat = () => this.tick();
  private stopWatching: (() => void) | undefined;

  constructor(
    private readonly link: Link,
    private readonly served: ServedMethod,
  ) {
    this.method = served.method;
    this.settings = served.settings;
  }

  start(): void {
    const { method, settings } = this;
    this.controls.push(this.listen(method.cancelSubject, (message) => this.cancel(message)));
    if (method.desc.methodKind !== "unary") {
      const frames = `${method.streamSubject}.${settings.session}.>`;
      this.controls.push(this.listen(frames, (message) => this.route(message)));
      this.stopWatching = this.link.onDisconnect(() => this.disconnected());
    }
    if (method.concurrency > 0 || settings.slots.limit > 0) {
      this.waits = this.listen(method.waitSubject, (message) => this.take(message), queueGroup);
      settings.slots.onChange(() => this.update());
    }
    this.link.pulse.add(this.beat);
    this.update();
  }

  /** Takes nothing new, once all that the server sent already is taken. */
  async stop(): Promise<void> {
    this.isStopped = true;
    this.leave(this.waits);
    this.leave(this.requests);
    await Promise.all(this.leaving);
  }

  /** Waits until nothing runs. */
  async idle(): Promise<void> {
    if (this.running.size + this.waiting.length > 0) {
      await new Promise<void>((resolve) => {
        this.onIdle = resolve;
      });
    }
    this.link.pulse.remove(this.beat);
    this.stopWatching?.();
    for (const subscription of this.controls) {
      subscription.unsubscribe();
    }
  }

  /** Fires the signals of what runs, and answers its callers. */
  abort(reason: ConnectError): void {
    for (const { request } of this.waiting.splice(0)) {
      this.refuse(request, reason);
    }
    for (const call of this.running.values()) {
      call.stop(reason);
    }
    // A handler that ignores its signal is not waited for.
    this.onIdle?.();
  }

  private listen(subject: string, take: (message: Msg) => void, queue?: string): Subscription {
    const onDenied = (cause: Error) => this.settings.onDenied(subject, cause);
    return this.link.subscribe(subject, take, { onDenied, ...(queue && { queue }) });
  }

  /** Ends a subscription, but takes what the server sent before it knew. */
  private leave(subscription: Subscription | undefined): void {
    if (!subscription || subscription.isClosed() || this.link.nats.isClosed()) {
      return;
    }
    if (!this.link.connected) {
      // Nothing is on its way, and the next connection must not have it back.
      subscription.unsubscribe();
      return;
    }
    const left = subscription
      .drain()
      .catch(() => undefined)
      .finally(() => this.leaving.delete(left));
    this.leaving.add(left);
  }

  private get isFull(): boolean {
    const { concurrency } = this.method;
    return (concurrency > 0 && this.running.size >= concurrency) || this.settings.slots.isFull;
  }

  /** Runs what waits, and is in the queue group while there is a free slot. */
  private update(): void {
    while (this.waiting.length > 0 && !this.isFull) {
      const { request, endsAt, quiet } = this.waiting.shift() as WaitingRequest;
      // Nobody waits any more for what is out of time.
      if (performance.now() < endsAt) {
        this.run(request, quiet);
      }
    }
    if (this.isFull) {
      this.leave(this.requests);
      this.requests = undefined;
    } else if (!this.requests && !this.isStopped && !this.link.nats.isClosed()) {
      this.requests = this.listen(
        this.method.directSubject,
        (message) => this.take(message),
        queueGroup,
      );
    }
    this.noteIdle();
  }

  private take(request: Msg): void {
    if (!isReplySubject(this.method.service, request.reply)) {
      this.settings.log({
        level: "warn",
        message: `a request that wants its reply on ${request.reply || "no subject"} was dropped`,
        method: this.method.desc.toString(),
      });
      return;
    }
    const problem = request.headers && problemOf(this.method, request);
    if (problem) {
      this.settings.log({
        level: "warn",
        message: "a request that cannot be read was refused",
        method: this.method.desc.toString(),
        error: problem,
      });
      this.refuse(request, problem);
    } else if (!this.isFull) {
      this.run(request);
    } else if (this.waiting.length < maxWaiting) {
      const timeoutMs = requestTimeoutMs(this.method, request) || Number.POSITIVE_INFINITY;
      this.waiting.push({ request, endsAt: performance.now() + timeoutMs, quiet: 0 });
      if (request.data.length >= largeBytes) {
        sendHeartbeat(this.link, request.reply, quietBeats);
      }
    } else {
      this.refuse(
        request,
        new ConnectError(
          `all workers of ${this.method.desc.toString()} are busy, and ${maxWaiting} calls wait: start more workers`,
          Code.ResourceExhausted,
        ),
      );
    }
  }

  private run(request: Msg, quiet = 0): void {
    const { link, served, method, settings } = this;
    let call: ServedCall;
    let stream: string | undefined;
    if (method.desc.methodKind === "unary") {
      call = new ServedUnaryCall(link, served, request, quiet);
    } else {
      // Only the caller, who is told the subject, can send frames there.
      stream = `${this.nextStream++}-${createSecret()}`;
      const own = `${method.streamSubject}.${settings.session}.${stream}`;
      const side = new ServedStream(link, served, request, own);
      this.streams.set(stream, side);
      call = side;
    }
    // A handler may transfer the bytes of its request: then they have no length any more.
    const isLarge = request.data.length >= largeBytes;
    const rest = call.run();
    if (!rest) {
      // A call that is over at once takes no slot: nothing else could come meanwhile.
      return;
    }
    const number = this.running.add(call);
    settings.slots.take();
    link.pulse.start();
    void rest.then(() => this.ended(number, stream));
    if (isLarge && !stream) {
      this.showEarly(number);
    }
    if (method.concurrency > 0 && this.isFull) {
      this.update();
    }
  }

  private ended(number: number, stream: string | undefined): void {
    if (stream) {
      this.streams.delete(stream);
    }
    this.running.delete(number);
    this.settings.slots.free();
    if (this.method.concurrency > 0) {
      this.update();
    }
    this.noteIdle();
  }

  /** Tells the one who waits for it that nothing runs, and nothing waits. */
  private noteIdle(): void {
    if (this.running.size + this.waiting.length === 0) {
      this.onIdle?.();
    }
  }

  /** Tells a caller soon that its request is read, if the call takes its time. */
  private showEarly(number: number): void {
    if (this.young.push(number) === 1) {
      setTimeout(() => {
        for (const each of this.young.splice(0)) {
          const reply = this.running.get(each)?.reply;
          if (reply) {
            this.link.guard(() => sendHeartbeat(this.link, reply, quietBeats));
          }
        }
      }, earlyMs);
    }
  }

  /** A frame or a heartbeat of a stream's caller. */
  private route(message: Msg): void {
    const start = this.method.streamSubject.length + this.settings.session.length + 2;
    const id = message.subject.slice(start);
    const stream = this.streams.get(id);
    if (stream) {
      stream.receive(message);
    } else if (id.endsWith(heartbeatSuffix)) {
      this.streams.get(id.slice(0, -heartbeatSuffix.length))?.heard();
    }
  }

  /** Frames were lost, and callers cannot be told before they find out by themselves. */
  private disconnected(): void {
    for (const stream of [...this.streams.values()]) {
      stream.cancel(new ConnectError("the worker's connection to NATS was lost", Code.Unavailable));
    }
  }

  /** A caller has left: the payload is the reply subject of its call. */
  private cancel(message: Msg): void {
    const reply = message.string();
    const index = this.waiting.findIndex(({ request }) => request.reply === reply);
    if (index >= 0) {
      this.waiting.splice(index, 1);
      this.noteIdle();
    }
    this.settings.responses.drop(reply);
    this.running
      .values()
      .find((call) => call.reply === reply)
      ?.cancel(new ConnectError("the caller has left", Code.Canceled));
  }

  private tick(): boolean {
    for (const call of this.running.values()) {
      call.tick();
    }
    for (const each of this.waiting) {
      if (sendHeartbeat(this.link, each.request.reply ?? "", ++each.quiet)) {
        each.quiet = 0;
      }
    }
    return this.running.size + this.waiting.length > 0;
  }

  private refuse(request: Msg, error: ConnectError): void {
    this.link.observer?.handling?.(this.method, request.headers)?.end(error);
    if (request.reply && this.link.connected) {
      const { headers, payload } = encodeStatus(error, { maxBytes: this.link.maxPayload });
      this.link.publish(request.reply, payload, { headers: headers.asHeaders() });
    }
  }
}

/** Why a request cannot be read that has headers; undefined when it can. */
function problemOf({ desc }: MethodBinding, request: Msg): ConnectError | undefined {
  const defect = defectOf(request);
  if (defect) {
    return new ConnectError(`the request cannot be read: ${defect}`, Code.InvalidArgument);
  }
  try {
    readTimeoutMs(request.headers);
    return kindConflict(desc, request.headers);
  } catch (error) {
    return ConnectError.from(error);
  }
}
