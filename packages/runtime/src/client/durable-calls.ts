import {
  create,
  type DescMessage,
  type MessageInitShape,
  type MessageShape,
} from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";
import { type Progress, ProgressSchema } from "../gen/jetrpc/v1/call_pb.js";
import type { MethodBinding } from "../wire/binding.js";
import { type CallName, checkCallId, nameCall } from "../wire/call-id.js";
import { type Entry, progressSubject, queueSubject } from "../wire/call-log.js";
import { decode, encode } from "../wire/codec.js";
import { Header, HeaderBlock, headerSize } from "../wire/header.js";
import { getLast, publishUntilStored } from "../wire/jetstream.js";
import type { Link } from "../wire/link.js";
import { isOversize } from "../wire/payload-store.js";
import { provision } from "../wire/provision.js";
import { decodeStatus, isStatus } from "../wire/status.js";
import type { StreamingCall, SubmitOptions, UnaryCall, WaitOptions } from "./call.js";
import { CallFollower, type FollowFrom } from "./call-follower.js";
import { LiveRouter } from "./live-router.js";

/** How long submit() keeps trying to reach the server when no timeout is given, in ms. */
const submitPatienceMs = 30_000;

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

  /** Stores a request in the queue of its method. Errors: see {@link Durable.submit}. */
  async submit<I extends DescMessage>(
    method: MethodBinding,
    call: CallName,
    request: MessageInitShape<I>,
    options: SubmitOptions,
  ): Promise<void> {
    const { service } = method;
    const bytes = encode(method.desc.input, request, Code.InvalidArgument);
    const metadata = options.headers === undefined ? undefined : new Headers(options.headers);
    const isGiven = options.callId !== undefined;
    const block = (isRetry: boolean) => {
      const headers = new HeaderBlock().add(Header.messageId, `${method.desc.name}.${call.suffix}`);
      if (options.timeoutMs !== undefined && options.timeoutMs > 0) {
        headers.add(Header.timeout, Math.ceil(options.timeoutMs));
      }
      if (isGiven || isRetry) {
        headers.add(Header.replay, 1);
      }
      return metadata ? headers.addMetadata(metadata) : headers;
    };
    let object: string | undefined;
    if (isOversize(bytes, metadata ? headerSize(block(true)) : 0, this.link.maxPayload)) {
      object = await this.link.payloads.put(service, bytes);
    }
    await publishUntilStored(
      this.link,
      queueSubject(method, call),
      object ? new Uint8Array(0) : bytes,
      (isRetry) => (object ? block(isRetry).add(Header.payload, object) : block(isRetry)),
      {
        timeoutMs: options.timeoutMs || submitPatienceMs,
        // The first call of a service may come before its first worker.
        makeStream: () => provision(this.link, service, [method]),
      },
    );
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
  async read<O extends DescMessage>(method: MethodBinding, entry: Entry): Promise<MessageShape<O>> {
    const bytes = await this.link.payloads.load(method.service, entry.message);
    return decode(method.desc.output, bytes, Code.Internal) as MessageShape<O>;
  }

  /** A unary call to come back to. */
  unaryCall<O extends DescMessage>(
    method: MethodBinding,
    call: CallName,
    from: FollowFrom,
  ): UnaryCall<O> {
    return {
      id: call.callId,
      result: async (options) => {
        const follower = this.follow(method, call, from);
        const release = limitWait(follower, options);
        try {
          return await this.read<O>(method, await this.end(follower));
        } finally {
          release();
        }
      },
      progress: () => this.progress(method, call, from),
    };
  }

  /** A streaming call to come back to. */
  streamingCall<O extends DescMessage>(
    method: MethodBinding,
    call: CallName,
    from: FollowFrom,
  ): StreamingCall<O> {
    return {
      id: call.callId,
      progress: () => this.progress(method, call, from),
      [Symbol.asyncIterator]: () => this.messages<O>(method, this.follow(method, call, from)),
    };
  }

  /** The messages of a streamed response; `onEntry` sees each entry before its message. */
  async *messages<O extends DescMessage>(
    method: MethodBinding,
    follower: CallFollower,
    onEntry?: (entry: Entry) => void,
  ): AsyncGenerator<MessageShape<O>, void, undefined> {
    try {
      for (;;) {
        const entry = await follower.next();
        onEntry?.(entry);
        if (entry.kind === "message") {
          yield await this.read<O>(method, entry);
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
        latest = parseProgress(message.data) ?? latest;
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
      const stored = await getLast(
        this.link,
        method.service.logStream,
        progressSubject(method, call),
      );
      latest ??= stored && parseProgress(stored.data);
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

function parseProgress(bytes: Uint8Array): Progress | undefined {
  try {
    return decode(ProgressSchema, bytes, Code.Internal);
  } catch {
    return create(ProgressSchema);
  }
}

/** Ends a follower's wait by signal or time; returns what undoes it. */
export function limitWait(follower: CallFollower, options: WaitOptions = {}): () => void {
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
  const timer =
    timeoutMs !== undefined && timeoutMs > 0
      ? setTimeout(
          () =>
            follower.stop(
              new ConnectError(
                `the call did not end within ${timeoutMs} ms`,
                Code.DeadlineExceeded,
              ),
            ),
          timeoutMs,
        )
      : undefined;
  return () => {
    clearTimeout(timer);
    signal?.removeEventListener("abort", abort);
    follower.close();
  };
}
