import type { DescMessage, MessageInitShape, MessageShape } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";
import type { Progress } from "../gen/jetrpc/v1/call_pb.js";
import type { MethodBinding } from "../wire/binding.js";
import { bindBlobs } from "../wire/blob.js";
import { type CallName, checkCallId, nameCall } from "../wire/call-id.js";
import { type Entry, progressSubject } from "../wire/call-log.js";
import { decode } from "../wire/codec.js";
import { refuseOtherDomainOnce } from "../wire/domain.js";
import { getLast, untilAnswered } from "../wire/jetstream.js";
import type { Link } from "../wire/link.js";
import { responseSpace } from "../wire/object-name.js";
import { decodeStatus, isStatus } from "../wire/status.js";
import { startTimer } from "../wire/timer.js";
import type { Call, StreamingCall, SubmitOptions, UnaryCall, WaitOptions } from "./call.js";
import { CallFollower, type FollowFrom } from "./call-follower.js";
import { readProgress, readStatus } from "./call-status.js";
import { endCall } from "./end-call.js";
import { LiveRouter } from "./live-router.js";
import { Submission } from "./submission.js";

/** Submits durable calls, and comes back to them. */
export class DurableCalls {
  private readonly live: LiveRouter;

  constructor(private readonly link: Link) {
    this.live = new LiveRouter(link);
  }

  /** Whose calls these are. */
  get owner(): string {
    return this.link.owner;
  }

  /** Names a new call. Throws InvalidArgument for an impossible id. */
  name(callId: string | undefined): CallName {
    return nameCall(
      this.link.owner,
      callId === undefined ? this.live.newCallId() : checkCallId(callId),
    );
  }

  /** Follows a call. */
  follow(method: MethodBinding, call: CallName, from: FollowFrom): CallFollower {
    return new CallFollower(this.link, this.live, method, call, from);
  }

  /** Stores a request in a queue of its method. Errors: see {@link Durable.submit}. */
  async submit<I extends DescMessage>(
    method: MethodBinding,
    call: CallName,
    request: MessageInitShape<I>,
    options: SubmitOptions,
  ): Promise<void> {
    await new Submission(this.link, method, call, request, options).run();
  }

  /** Ends a call whose time is over, unless its worker does. */
  expire(method: MethodBinding, call: CallName): void {
    endCall(this.link, method, call, "expired").catch(() => undefined);
  }

  /** Waits for the end of a unary call and returns it. Throws the error it ended with. */
  async end(follower: CallFollower): Promise<Entry> {
    const entry = await follower.next();
    if (isStatus(entry.message)) {
      throw decodeStatus(entry.message);
    }
    return entry;
  }

  /** The message that an entry carries. */
  async read<O extends DescMessage>(
    method: MethodBinding,
    call: CallName,
    entry: Entry,
  ): Promise<MessageShape<O>> {
    const { link } = this;
    const { service, desc } = method;
    const space = responseSpace(method, call);
    const bytes = await link.payloads.load(service, entry.message, space);
    const message = decode(desc.output, bytes, Code.DataLoss);
    bindBlobs(link, service, space, desc.output, message);
    return message as MessageShape<O>;
  }

  /** A unary call to come back to. */
  unaryCall<O extends DescMessage>(
    method: MethodBinding,
    call: CallName,
    from: FollowFrom,
  ): UnaryCall<O> {
    return {
      result: async (options) => {
        const follower = this.follow(method, call, from);
        const release = limitWait(follower, options);
        try {
          return await this.read<O>(method, call, await this.end(follower));
        } finally {
          release();
        }
      },
      ...this.commonCall(method, call, from),
    };
  }

  /** A streaming call to come back to. */
  streamingCall<O extends DescMessage>(
    method: MethodBinding,
    call: CallName,
    from: FollowFrom,
  ): StreamingCall<O> {
    const messages = (index = 0) => {
      if (!Number.isSafeInteger(index) || index < 0) {
        const text = `messages: from is ${index}, and must be 0 or a greater whole number`;
        throw new ConnectError(text, Code.InvalidArgument);
      }
      return this.messages<O>(method, call, this.follow(method, call, from), undefined, index);
    };
    return {
      ...this.commonCall(method, call, from),
      messages: (options) => messages(options?.from),
      [Symbol.asyncIterator]: () => messages(),
    };
  }

  private commonCall(method: MethodBinding, call: CallName, from: FollowFrom): Call {
    return {
      id: call.callId,
      progress: () => this.progress(method, call, from),
      status: () => untilAnswered(this.link, () => readStatus(this.link, method, call)),
      cancel: async () => (await endCall(this.link, method, call, "cancelled")) === undefined,
    };
  }

  /**
   * The messages of a streamed response without so many at its start; `onEntry` sees
   * each entry before its message.
   */
  async *messages<O extends DescMessage>(
    method: MethodBinding,
    call: CallName,
    follower: CallFollower,
    onEntry?: (entry: Entry) => void,
    skip = 0,
  ): AsyncGenerator<MessageShape<O>, void, undefined> {
    try {
      for (let index = 0; ; ) {
        const entry = await follower.next();
        onEntry?.(entry);
        if (entry.kind === "message") {
          if (index++ < skip) {
            continue;
          }
          yield await this.read<O>(method, call, entry);
        } else if (isStatus(entry.message)) {
          throw decodeStatus(entry.message);
        } else {
          return;
        }
      }
    } finally {
      follower.close();
    }
  }

  private async *progress(
    method: MethodBinding,
    call: CallName,
    from: FollowFrom,
  ): AsyncGenerator<Progress, void, undefined> {
    let latest: Progress | undefined;
    let shown: Progress | undefined;
    let wake: (() => void) | undefined;
    let ended: { error?: unknown } | undefined;
    const stopListening = this.live.listen(method, call, (message) => {
      if (message.subject.endsWith(".progress")) {
        try {
          latest = readProgress(message);
        } catch (error) {
          ended = { error };
        }
        wake?.();
      }
    });
    const follower = new CallFollower(this.link, this.live, method, call, from, true);
    void untilEnd(follower).then(
      () => {
        ended = {};
        wake?.();
      },
      (error) => {
        ended = { error };
        wake?.();
      },
    );
    try {
      await refuseOtherDomainOnce(this.link, method);
      const stored = await getLast(
        this.link,
        method.service.progressStream,
        progressSubject(method, call),
      );
      latest ??= stored && readProgress(stored);
      for (;;) {
        if (latest && latest !== shown) {
          shown = latest;
          yield latest;
        } else if (ended) {
          if (ended.error) {
            throw ended.error;
          }
          return;
        } else {
          await new Promise<void>((resolve) => {
            wake = resolve;
          });
        }
      }
    } finally {
      stopListening();
      follower.close();
    }
  }
}

async function untilEnd(follower: CallFollower): Promise<void> {
  while ((await follower.next()).kind !== "end") {
    // Messages are for others.
  }
}

/** Ends a follower's wait by signal or time; returns what undoes it. */
export function limitWait(
  follower: CallFollower,
  options: WaitOptions = {},
  onTimeout: () => void = () => undefined,
): () => void {
  const { signal, timeoutMs } = options;
  const abort = () => {
    const reason: unknown = signal?.reason;
    follower.stop(
      reason instanceof ConnectError
        ? reason
        : new ConnectError(
            "the wait for the call was canceled; the call goes on",
            Code.Canceled,
            undefined,
            undefined,
            reason,
          ),
    );
  };
  if (signal?.aborted) {
    abort();
  }
  signal?.addEventListener("abort", abort);
  const stopTimer =
    timeoutMs !== undefined && timeoutMs > 0
      ? startTimer(() => {
          const text = `the call did not end within ${timeoutMs} ms`;
          follower.stop(new ConnectError(text, Code.DeadlineExceeded));
          onTimeout();
        }, timeoutMs)
      : undefined;
  return () => {
    stopTimer?.();
    signal?.removeEventListener("abort", abort);
    follower.close();
  };
}
