import type {
  DescMessage,
  DescMethodStreaming,
  DescMethodUnary,
  MessageInitShape,
  MessageShape,
} from "@bufbuild/protobuf";
import { Code, type ConnectError, type Interceptor } from "@connectrpc/connect";
import type { Msg } from "@nats-io/nats-core";
import type { WaitingCall } from "../connection.js";
import type { Progress } from "../gen/jetrpc/v1/call_pb.js";
import { endCall } from "../ledger/ending.js";
import { CallFollower, type Followed, type FollowFrom } from "../ledger/following.js";
import { LiveRouter } from "../ledger/live-router.js";
import type { Entry } from "../ledger/log.js";
import { SharedLogs } from "../ledger/shared-log.js";
import { Interruptible } from "../link/interruptible.js";
import type { Link } from "../link/link.js";
import type { Watch } from "../link/observer.js";
import { until } from "../link/until.js";
import { checkSize, decode, type MessageLimits } from "../message/codec.js";
import { appendMetadata, readMetadata, toHeaders } from "../message/metadata.js";
import { kindConflict, otherKind } from "../message/method-kind.js";
import { decodeStatus, isStatus } from "../message/status.js";
import { toConnectError } from "../message/thrown.js";
import { bindBlobs } from "../objects/incoming-blobs.js";
import type { MethodBinding } from "../schema/binding.js";
import { type CallName, checkCallId, nameCall } from "../schema/call-id.js";
import { responseSpace } from "../schema/object-name.js";
import type { SignalOptions, SubmitOptions, WaitOptions } from "./call.js";
import { type CallStatus, readStatus } from "./call-status.js";
import { interceptSubmit } from "./intercept.js";
import { left, limitWait } from "./limit-wait.js";
import { progressReports } from "./progress-reports.js";
import { findQueue, Submission } from "./submission.js";
import { untilAborted } from "./until-aborted.js";
import { WaitingWatch } from "./waiting.js";
import { watchCall } from "./watched.js";

/** Submits durable calls, and comes back to them. */
export class DurableCalls {
  private readonly followed: Followed;

  constructor(
    private readonly link: Link,
    private readonly limits: MessageLimits,
    onWaiting?: (call: WaitingCall) => void,
    private readonly interceptors: readonly Interceptor[] = [],
  ) {
    this.followed = {
      link,
      live: new LiveRouter(link),
      logs: new SharedLogs(link),
      waiting: onWaiting && new WaitingWatch(link, onWaiting),
    };
  }

  /** Names a new call. Throws InvalidArgument for an impossible id. */
  name(callId: string | undefined): CallName {
    return callId === undefined
      ? this.followed.live.newCall()
      : nameCall(this.link.owner, checkCallId(callId));
  }

  /** Follows a call. */
  follow(method: MethodBinding, call: CallName, from: FollowFrom): CallFollower {
    return new CallFollower(this.followed, method, call, from);
  }

  /** Stores a request in a queue of its method. Errors: see {@link Durable.submit}. */
  async submit<I extends DescMessage>(
    method: MethodBinding,
    call: CallName,
    request: MessageInitShape<I>,
    options: SubmitOptions,
  ): Promise<void> {
    const { interceptors } = this;
    const { headers, signal, contextValues } = options;
    if (interceptors.length === 0) {
      await this.store(method, call, request, options);
      return;
    }
    // The call's own time begins when it is accepted: interceptors take nothing of it.
    const passed = {
      signal,
      timeoutMs: undefined,
      header: headers && toHeaders(headers),
      contextValues,
    };
    let { callId } = options;
    const desc = method.desc as DescMethodUnary<I> | DescMethodStreaming<I>;
    await interceptSubmit(interceptors, desc, request, passed, async (message, left) => {
      const its = { ...options, callId, headers: left.header, signal: left.signal };
      // An interceptor that passes it on again means the same call.
      callId = call.callId;
      await this.store(method, call, message, its);
    });
  }

  /** Submits a call that is followed already; its follower tells when that fails. */
  async submitFollowed<I extends DescMessage>(
    method: MethodBinding,
    call: CallName,
    follower: CallFollower,
    request: MessageInitShape<I>,
    options: SubmitOptions,
    within: Watch | undefined,
  ): Promise<void> {
    try {
      follower.start();
      await this.store(method, call, request, options, within);
      follower.accepted();
    } catch (error) {
      follower.stop(toConnectError(error));
    }
  }

  private store<I extends DescMessage>(
    method: MethodBinding,
    call: CallName,
    request: MessageInitShape<I>,
    options: SubmitOptions,
    within?: Watch,
  ): Promise<unknown> {
    const { link, limits } = this;
    const { observer } = link;
    if (!observer?.submitting) {
      return new Submission(link, method, call, request, options, limits).run();
    }
    const queue = findQueue(method, options).subject;
    const headers = options.headers && toHeaders(options.headers);
    const watch = observer.submitting({ method, callId: call.callId, headers, queue }, within);
    return watchCall(watch, () =>
      new Submission(link, method, call, request, options, limits, watch).run(),
    );
  }

  /** Ends a call whose time is over, unless its worker does. */
  expire(method: MethodBinding, call: CallName): void {
    endCall(this.link, method, call, "expired").catch(() => undefined);
  }

  /**
   * Waits for the end of a unary call and returns it. Throws the error it ended with, and
   * Unimplemented when it is one of a method that streams.
   */
  async end({ desc }: MethodBinding, follower: CallFollower): Promise<Entry> {
    const entry = await follower.next();
    const { message } = entry;
    if (isStatus(message)) {
      throw decodeStatus(message);
    }
    const conflict = message.headers && kindConflict(desc, message.headers);
    if (conflict) {
      throw conflict;
    }
    return entry;
  }

  /** The message that an entry carries; a promise where it is kept elsewhere. */
  read<O extends DescMessage>(
    method: MethodBinding,
    call: CallName,
    entry: Entry,
  ): MessageShape<O> | Promise<MessageShape<O>> {
    const { message } = entry;
    if (!entry.isObject) {
      return this.parse<O>(method, call, message.data);
    }
    return this.link.payloads
      .load(method.service, message, responseSpace(method, call), this.limits.readMaxBytes)
      .then((bytes) => this.parse<O>(method, call, bytes));
  }

  private parse<O extends DescMessage>(
    method: MethodBinding,
    call: CallName,
    bytes: Uint8Array,
  ): MessageShape<O> {
    const { service, desc } = method;
    checkSize(desc.output, bytes, this.limits, "readMaxBytes");
    const message = decode(desc.output, bytes, Code.DataLoss);
    bindBlobs(this.link, service, responseSpace(method, call), desc.output, message);
    return message as MessageShape<O>;
  }

  /** Waits for the message that a unary call ends with. */
  async result<O extends DescMessage>(
    method: MethodBinding,
    call: CallName,
    from: FollowFrom,
    options?: WaitOptions,
  ): Promise<MessageShape<O>> {
    const follower = this.follow(method, call, from);
    const release = limitWait(follower, options);
    try {
      const end = await this.end(method, follower);
      options?.onHeader?.(readMetadata(end.message.headers));
      options?.onTrailer?.(readMetadata(end.message.headers, "trailer"));
      return await untilAborted(options?.signal, async () => this.read<O>(method, call, end));
    } finally {
      release();
    }
  }

  /** Errors: see {@link Call.progress}. */
  progress(
    method: MethodBinding,
    call: CallName,
    from: FollowFrom,
    options?: SignalOptions,
  ): Interruptible<Progress> {
    return progressReports(this.followed, method, call, from, options);
  }

  /** Errors: see {@link Call.status}. */
  status(
    method: MethodBinding,
    call: CallName,
    { signal }: SignalOptions = {},
  ): Promise<CallStatus> {
    const { link } = this;
    return untilAborted(signal, () => until(link, () => readStatus(link, method, call)));
  }

  /** Errors: see {@link Call.cancel}. */
  cancel(method: MethodBinding, call: CallName, { signal }: SignalOptions = {}): Promise<boolean> {
    return untilAborted(signal, async () => {
      return (await endCall(this.link, method, call, "cancelled")) === undefined;
    });
  }

  /** The messages of a streamed response. Errors: what the call ended with, or the wait. */
  messages<O extends DescMessage>(
    method: MethodBinding,
    call: CallName,
    follower: CallFollower,
    options: ReadOptions,
  ): Interruptible<MessageShape<O>> {
    return new Interruptible(this.readMessages<O>(method, call, follower, options), () =>
      follower.stop(left),
    );
  }

  private async *readMessages<O extends DescMessage>(
    method: MethodBinding,
    call: CallName,
    follower: CallFollower,
    { skip = 0, onHeader, onTrailer, onTimeout, ...wait }: ReadOptions,
  ): AsyncGenerator<MessageShape<O>, void, undefined> {
    const release = limitWait(follower, wait, onTimeout);
    let header: Msg | undefined;
    let isFirst = true;
    try {
      for (let index = 0; ; ) {
        const entry = await follower.next();
        const { headers } = entry.message;
        if (isFirst) {
          isFirst = false;
          onHeader?.(readMetadata(headers));
        }
        if (entry.kind !== "message") {
          onTrailer?.(readMetadata(headers, "trailer"));
        }
        if (entry.kind === "message") {
          header ??= entry.message;
          if (index++ < skip) {
            continue;
          }
          yield this.read<O>(method, call, entry);
        } else if (isStatus(entry.message)) {
          const error = decodeStatus(entry.message);
          // As in Connect, an error has all metadata of the response.
          appendMetadata(error.metadata, readMetadata(header?.headers));
          throw error;
        } else if (entry.message.data.length > 0 || entry.isObject) {
          throw otherKind(method.desc, "unary");
        } else {
          return;
        }
      }
    } finally {
      release();
    }
  }
}

/** How the messages of a call are read. */
interface ReadOptions extends WaitOptions {
  /** How many messages at the start are left out. */
  readonly skip?: number;
  readonly onHeader?: WaitOptions["onHeader"];
  readonly onTrailer?: WaitOptions["onTrailer"];
  readonly onTimeout?: (error: ConnectError) => void;
}
