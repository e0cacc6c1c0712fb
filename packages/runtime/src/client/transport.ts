import type {
  DescMessage,
  DescMethodStreaming,
  DescMethodUnary,
  MessageInitShape,
  MessageShape,
} from "@bufbuild/protobuf";
import type { ContextValues, StreamResponse, Transport, UnaryResponse } from "@connectrpc/connect";
import type { CallSettings } from "../connection.js";
import type { Entry } from "../ledger/log.js";
import type { Link } from "../link/link.js";
import { canceled } from "../link/pending-reply.js";
import { checkTimeoutMs } from "../link/timer.js";
import { neverRanCopy } from "../message/error-marks.js";
import { appendMetadata, type HeadersInit, readMetadata, toHeaders } from "../message/metadata.js";
import { onlyMessage } from "../message/only-message.js";
import { bindMethod, type MethodBinding } from "../schema/binding.js";
import type { SubmitOptions } from "./call.js";
import type { CallOptions } from "./call-options.js";
import { DirectMethod } from "./direct-call.js";
import type { CallArguments } from "./direct-request.js";
import { callDirectStream } from "./direct-stream.js";
import type { DurableCalls } from "./durable-calls.js";
import { interceptStream, interceptUnary } from "./intercept.js";
import { limitWait } from "./limit-wait.js";
import { LazyUnaryResponse } from "./unary-response.js";

/** Calls a method, as a Connect client does. */
type UnaryFunction<I extends DescMessage, O extends DescMessage> = (
  request: MessageInitShape<I>,
  options?: CallOptions,
) => Promise<MessageShape<O>>;

/** A transport that makes the methods of generated clients, too. */
export interface CallTransport extends Transport {
  /**
   * Makes the function of a direct unary method. It does what Connect's client does with this
   * transport, and takes a shorter way where nobody needs more than the message.
   */
  directUnary<I extends DescMessage, O extends DescMessage>(
    method: MethodBinding,
    desc: DescMethodUnary<I, O>,
  ): UnaryFunction<I, O>;
}

/**
 * Makes a Connect transport over NATS. Each method goes the way its delivery
 * says; a durable method is submitted and waited for.
 */
export function createTransport(
  link: Link,
  calls: DurableCalls,
  { interceptors, limits, defaultTimeoutMs }: CallSettings,
): CallTransport {
  const directMethods = new WeakMap<MethodBinding, DirectMethod>();

  function directMethod<I extends DescMessage, O extends DescMessage>(
    binding: MethodBinding,
    desc: DescMethodUnary<I, O>,
  ): DirectMethod<I, O> {
    let method = directMethods.get(binding);
    if (!method) {
      method = new DirectMethod(link, binding, desc as DescMethodUnary, limits);
      directMethods.set(binding, method);
    }
    return method as unknown as DirectMethod<I, O>;
  }

  /** The time-out of a call: the caller's, or that of the connection. */
  function timeoutOf(binding: MethodBinding, timeoutMs: number | undefined): number | undefined {
    checkTimeoutMs(timeoutMs);
    return timeoutMs ?? (binding.delivery === "direct" ? defaultTimeoutMs : undefined);
  }

  async function durableUnary<I extends DescMessage, O extends DescMessage>(
    binding: MethodBinding,
    desc: DescMethodUnary<I, O>,
    call: CallArguments,
    input: MessageInitShape<I>,
  ): Promise<UnaryResponse<I, O>> {
    checkSignal(call);
    const name = calls.name(undefined);
    const follower = calls.follow(binding, name, "new");
    const release = limitWait(follower, call, () => calls.expire(binding, name));
    try {
      void calls.submitFollowed(binding, name, follower, input, submitOptions(call));
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

  function unary<I extends DescMessage, O extends DescMessage>(
    binding: MethodBinding,
    desc: DescMethodUnary<I, O>,
    call: CallArguments,
    input: MessageInitShape<I>,
  ): Promise<UnaryResponse<I, O>> {
    return binding.delivery === "direct"
      ? directMethod(binding, desc).respond(input, call)
      : durableUnary<I, O>(binding, desc, call, input);
  }

  async function stream<I extends DescMessage, O extends DescMessage>(
    binding: MethodBinding,
    desc: DescMethodStreaming<I, O>,
    call: CallArguments,
    input: AsyncIterable<MessageInitShape<I>>,
  ): Promise<StreamResponse<I, O>> {
    if (binding.delivery === "direct") {
      return callDirectStream<I, O>(link, binding, desc, input, call, limits);
    }
    const request = await onlyMessage(desc, input);
    checkSignal(call);
    const name = calls.name(undefined);
    const follower = calls.follow(binding, name, "new");
    const trailer = new Headers();
    let first: Entry | undefined;
    const message = calls.messages<O>(binding, name, follower, {
      signal: call.signal,
      timeoutMs: call.timeoutMs,
      onTimeout: () => calls.expire(binding, name),
      onEntry: (entry) => {
        first ??= entry;
        appendMetadata(trailer, readMetadata(entry.message.headers, "trailer"));
      },
    });
    void calls.submitFollowed(binding, name, follower, request, submitOptions(call));
    // The response header comes with the first entry, as it does over HTTP.
    await message.peek().catch((error) => {
      // An error that the call ended with is read after the header.
      if (!first) {
        throw error;
      }
    });
    return {
      stream: true,
      service: desc.parent,
      method: desc,
      message,
      header: readMetadata(first?.message.headers),
      trailer,
    };
  }

  // Not async: a promise less for each call.
  function callUnary<I extends DescMessage, O extends DescMessage>(
    method: DescMethodUnary<I, O>,
    signal: AbortSignal | undefined,
    givenMs: number | undefined,
    header: HeadersInit | undefined,
    input: MessageInitShape<I>,
    contextValues?: ContextValues,
  ): Promise<UnaryResponse<I, O>> {
    try {
      const binding = bindMethod(method);
      const timeoutMs = timeoutOf(binding, givenMs);
      const headers = header && toHeaders(header);
      if (interceptors.length === 0) {
        return unary<I, O>(binding, method, { signal, timeoutMs, header: headers }, input);
      }
      return interceptUnary<I, O>(
        interceptors,
        method,
        input,
        { signal, timeoutMs, header: headers, contextValues },
        (message, call) => unary<I, O>(binding, method, call, message),
      );
    } catch (error) {
      return Promise.reject(error);
    }
  }

  async function messageOf<I extends DescMessage, O extends DescMessage>(
    desc: DescMethodUnary<I, O>,
    input: MessageInitShape<I>,
    options: CallOptions | undefined,
  ): Promise<MessageShape<O>> {
    const response = await callUnary(
      desc,
      options?.signal,
      options?.timeoutMs,
      options?.headers,
      input,
      options?.contextValues,
    );
    options?.onHeader?.(response.header);
    options?.onTrailer?.(response.trailer);
    return response.message;
  }

  return {
    unary: callUnary,

    directUnary(binding, desc) {
      const method = directMethod(binding, desc);
      const byDefault: CallArguments = {
        signal: undefined,
        timeoutMs: defaultTimeoutMs,
        header: undefined,
      };
      return (input, options) =>
        options === undefined && interceptors.length === 0
          ? method.message(input, byDefault)
          : messageOf(desc, input, options);
    },

    async stream<I extends DescMessage, O extends DescMessage>(
      method: DescMethodStreaming<I, O>,
      signal: AbortSignal | undefined,
      givenMs: number | undefined,
      header: HeadersInit | undefined,
      input: AsyncIterable<MessageInitShape<I>>,
      contextValues?: ContextValues,
    ): Promise<StreamResponse<I, O>> {
      const binding = bindMethod(method);
      const timeoutMs = timeoutOf(binding, givenMs);
      const headers = header && toHeaders(header);
      if (interceptors.length === 0) {
        return stream<I, O>(binding, method, { signal, timeoutMs, header: headers }, input);
      }
      return interceptStream<I, O>(
        interceptors,
        method,
        input,
        { signal, timeoutMs, header: headers, contextValues },
        (messages, call) => stream<I, O>(binding, method, call, messages),
      );
    },
  };
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
