import type {
  DescMessage,
  DescMethodStreaming,
  DescMethodUnary,
  MessageInitShape,
} from "@bufbuild/protobuf";
import {
  Code,
  ConnectError,
  type ContextValues,
  type Interceptor,
  type StreamResponse,
  type Transport,
  type UnaryResponse,
} from "@connectrpc/connect";
import { bindMethod, type MethodBinding } from "../wire/binding.js";
import type { CallName } from "../wire/call-id.js";
import type { Entry } from "../wire/call-log.js";
import type { MessageLimits } from "../wire/codec.js";
import { type HeadersInit, readMetadata, toHeaders } from "../wire/header.js";
import type { Link } from "../wire/link.js";
import { canceled } from "../wire/pending-reply.js";
import { neverRan, toConnectError } from "../wire/status.js";
import type { CallFollower } from "./call-follower.js";
import { type CallArguments, callDirect } from "./direct-call.js";
import { callDirectStream } from "./direct-stream.js";
import { type DurableCalls, limitWait } from "./durable-calls.js";
import { interceptStream, interceptUnary } from "./intercept.js";
import { LazyUnaryResponse } from "./unary-response.js";

/**
 * Makes a Connect transport over NATS. Each method goes the way its delivery
 * says; a durable method is submitted and waited for.
 */
export function createTransport(
  link: Link,
  calls: DurableCalls,
  interceptors: readonly Interceptor[],
  limits: MessageLimits,
): Transport {
  /** Submits a call that is followed already; its follower tells when that fails. */
  function submit<I extends DescMessage>(
    binding: MethodBinding,
    name: CallName,
    follower: CallFollower,
    input: MessageInitShape<I>,
    call: CallArguments,
  ): void {
    follower.start();
    calls
      .submit(binding, name, input, submitOptions(call))
      .catch((error) => follower.stop(toConnectError(error)));
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
    const release = limitWait(follower, waitOptions(call), () => calls.expire(binding, name));
    try {
      submit(binding, name, follower, input, call);
      const end = await calls.end(follower);
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
      ? callDirect<I, O>(link, binding, desc, input, call, limits)
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
    const request = await only(input, desc);
    checkSignal(call);
    const name = calls.name(undefined);
    const follower = calls.follow(binding, name, "new");
    const release = limitWait(follower, waitOptions(call), () => calls.expire(binding, name));
    const trailer = new Headers();
    let first: Entry | undefined;
    const messages = calls.messages<O>(binding, name, follower, (entry) => {
      first ??= entry;
      readMetadata(entry.message.headers, "trailer").forEach((value, key) => {
        trailer.append(key, value);
      });
    });
    try {
      submit(binding, name, follower, request, call);
      // The response header comes with the first entry, as it does over HTTP.
      const message = await messages.next();
      return {
        stream: true,
        service: desc.parent,
        method: desc,
        message: resume(message, messages, release),
        header: readMetadata(first?.message.headers),
        trailer,
      };
    } catch (error) {
      release();
      throw error;
    }
  }

  return {
    // Not async: a promise less for each call.
    unary<I extends DescMessage, O extends DescMessage>(
      method: DescMethodUnary<I, O>,
      signal: AbortSignal | undefined,
      timeoutMs: number | undefined,
      header: HeadersInit | undefined,
      input: MessageInitShape<I>,
      contextValues?: ContextValues,
    ): Promise<UnaryResponse<I, O>> {
      try {
        const binding = bindMethod(method);
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
    },

    async stream<I extends DescMessage, O extends DescMessage>(
      method: DescMethodStreaming<I, O>,
      signal: AbortSignal | undefined,
      timeoutMs: number | undefined,
      header: HeadersInit | undefined,
      input: AsyncIterable<MessageInitShape<I>>,
      contextValues?: ContextValues,
    ): Promise<StreamResponse<I, O>> {
      const binding = bindMethod(method);
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

/** What was given up before it was submitted is not. */
function checkSignal({ signal }: CallArguments): void {
  if (signal?.aborted) {
    throw neverRan(canceled(signal));
  }
}

function waitOptions({ signal, timeoutMs }: CallArguments) {
  return { ...(signal && { signal }), ...(timeoutMs !== undefined && { timeoutMs }) };
}

function submitOptions({ header, timeoutMs }: CallArguments) {
  return {
    ...(header && { headers: header }),
    ...(timeoutMs !== undefined && { timeoutMs }),
  };
}

/** The one request message of a method that takes one. */
async function only<T>(input: AsyncIterable<T>, desc: DescMethodStreaming): Promise<T> {
  for await (const message of input) {
    return message;
  }
  throw new ConnectError(`${desc.toString()} needs a request message`, Code.InvalidArgument);
}

/** The rest of an iteration whose first step was taken already. */
async function* resume<T>(
  first: IteratorResult<T, void>,
  rest: AsyncGenerator<T, void, undefined>,
  release: () => void,
): AsyncGenerator<T, void, undefined> {
  try {
    if (!first.done) {
      yield first.value;
      yield* rest;
    }
  } finally {
    release();
  }
}
