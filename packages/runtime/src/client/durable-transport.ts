import type {
  DescMessage,
  DescMethod,
  DescMethodStreaming,
  DescMethodUnary,
  MessageInitShape,
} from "@bufbuild/protobuf";
import type { StreamResponse, UnaryResponse } from "@connectrpc/connect";
import type { CallSettings } from "../connection.js";
import type { Interruptible } from "../link/interruptible.js";
import type { Link } from "../link/link.js";
import { canceled } from "../link/pending-reply.js";
import { neverRanCopy } from "../message/error-marks.js";
import { appendMetadata } from "../message/metadata.js";
import { onlyMessage } from "../message/only-message.js";
import type { MethodBinding } from "../schema/binding.js";
import { holdsBlobs } from "../schema/blob-fields.js";
import type { SubmitOptions } from "./call.js";
import type { CallArguments } from "./direct-request.js";
import { DurableCalls } from "./durable-calls.js";
import { limitWait } from "./limit-wait.js";
import { type Submitted, submitAll } from "./submit-all.js";
import { LazyUnaryResponse } from "./unary-response.js";

/** The durable half of a transport: a call is submitted and waited for. */
export class DurableTransport {
  readonly calls: DurableCalls;

  constructor(link: Link, { limits, interceptors, onWaiting }: CallSettings) {
    this.calls = new DurableCalls(link, limits, onWaiting, interceptors);
  }

  /** See {@link submitAll}. */
  submitAll<T, C>(
    requests: Iterable<T> | AsyncIterable<T>,
    submit: (request: T, index: number) => Promise<C>,
    { input }: DescMethod,
  ): Interruptible<Submitted<C>> {
    return submitAll(requests, submit, holdsBlobs(input));
  }

  async unary<I extends DescMessage, O extends DescMessage>(
    binding: MethodBinding,
    desc: DescMethodUnary<I, O>,
    call: CallArguments,
    input: MessageInitShape<I>,
  ): Promise<UnaryResponse<I, O>> {
    const { calls } = this;
    checkSignal(call);
    const name = calls.name(undefined);
    const follower = calls.follow(binding, name, "new");
    const release = limitWait(follower, call, () => calls.expire(binding, name));
    try {
      void calls.submitFollowed(binding, name, follower, input, submitOptions(call), call.watch);
      const end = await calls.end(binding, follower);
      return new LazyUnaryResponse<I, O>(
        desc,
        await calls.read<O>(binding, name, end),
        end.message,
      );
    } finally {
      release();
    }
  }

  async stream<I extends DescMessage, O extends DescMessage>(
    binding: MethodBinding,
    desc: DescMethodStreaming<I, O>,
    call: CallArguments,
    input: AsyncIterable<MessageInitShape<I>>,
  ): Promise<StreamResponse<I, O>> {
    const { calls } = this;
    const request = await onlyMessage(desc, input);
    checkSignal(call);
    const name = calls.name(undefined);
    const follower = calls.follow(binding, name, "new");
    const trailer = new Headers();
    let header: Headers | undefined;
    const message = calls.messages<O>(binding, name, follower, {
      signal: call.signal,
      timeoutMs: call.timeoutMs,
      onTimeout: (error) => {
        calls.expire(binding, name);
        call.watch?.end(error);
      },
      onHeader: (its) => {
        header = its;
      },
      onTrailer: (its) => appendMetadata(trailer, its),
    });
    void calls.submitFollowed(binding, name, follower, request, submitOptions(call), call.watch);
    // The response header comes with the first entry, as it does over HTTP.
    await message.peek().catch((error) => {
      // An error that the call ended with is read after the header.
      if (!header) {
        throw error;
      }
    });
    return {
      stream: true,
      service: desc.parent,
      method: desc,
      message,
      header: header ?? new Headers(),
      trailer,
    };
  }
}

/** Throws when the caller gave up before: then the call is not submitted. */
function checkSignal({ signal }: CallArguments): void {
  if (signal?.aborted) {
    throw neverRanCopy(canceled(signal));
  }
}

function submitOptions({ header, timeoutMs, signal }: CallArguments): SubmitOptions {
  return { headers: header, timeoutMs, signal };
}
