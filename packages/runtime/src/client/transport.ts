import type {
  DescMessage,
  DescMethodStreaming,
  DescMethodUnary,
  MessageInitShape,
} from "@bufbuild/protobuf";
import type { ContextValues, StreamResponse, Transport, UnaryResponse } from "@connectrpc/connect";
import type { CallSettings } from "../connection.js";
import type { Link } from "../link/link.js";
import { checkSignal, checkTimeoutMs } from "../link/timer.js";
import { watchMessages } from "../link/watched-messages.js";
import { LateCode } from "../message/late-code.js";
import { type HeadersInit, toHeaders } from "../message/metadata.js";
import { checkRequests } from "../message/only-message.js";
import { bindMethod, type MethodBinding } from "../schema/binding.js";
import type { AnyMethod, Caller } from "./caller.js";
import { DirectMethod } from "./direct-call.js";
import type { CallArguments } from "./direct-request.js";
import type { DurableTransport } from "./durable-transport.js";
import { interceptStream, interceptUnary } from "./intercept.js";
import type { TransportArguments } from "./intercepted-call.js";
import { loadForCall } from "./load-for-call.js";
import { unaryMethod } from "./unary-method.js";
import { watchCall, watchStream } from "./watched.js";

const directStreams = /* @__PURE__ */ new LateCode("streams", () => import("./direct-stream.js"));

/**
 * Makes a Connect transport over NATS, and the functions of unary methods. Each method goes the
 * way its delivery says; a durable method is submitted and waited for. The function of a method
 * does what Connect's client does with this transport; a direct call takes a shorter way where
 * nobody needs more than the message.
 */
export function createTransport(
  link: Link,
  durable: LateCode<DurableTransport>,
  { interceptors, limits, defaultTimeoutMs }: CallSettings,
): Pick<Caller, "transport" | "unaryMethod"> {
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

  /** The time-out of a call: the caller's, or that of the connection. Throws InvalidArgument. */
  function timeoutOf(
    binding: MethodBinding,
    timeoutMs: number | undefined,
    signal: AbortSignal | undefined,
  ): number | undefined {
    checkTimeoutMs(timeoutMs);
    checkSignal(signal);
    return timeoutMs ?? (binding.delivery === "direct" ? defaultTimeoutMs : undefined);
  }

  function unary<I extends DescMessage, O extends DescMessage>(
    binding: MethodBinding,
    desc: DescMethodUnary<I, O>,
    call: CallArguments,
    input: MessageInitShape<I>,
  ): Promise<UnaryResponse<I, O>> {
    if (binding.delivery === "direct") {
      return directMethod(binding, desc).respond(input, call);
    }
    return durable.loaded
      ? durable.loaded.unary<I, O>(binding, desc, call, input)
      : loadForCall(durable, desc, call).then((code) => code.unary(binding, desc, call, input));
  }

  async function stream<I extends DescMessage, O extends DescMessage>(
    binding: MethodBinding,
    desc: DescMethodStreaming<I, O>,
    call: CallArguments,
    input: AsyncIterable<MessageInitShape<I>>,
  ): Promise<StreamResponse<I, O>> {
    if (binding.delivery === "durable") {
      const code = durable.loaded ?? (await loadForCall(durable, desc, call));
      return code.stream<I, O>(binding, desc, call, input);
    }
    const { timeoutMs = binding.timeoutMs, signal } = call;
    const code =
      directStreams.loaded ?? (await loadForCall(directStreams, desc, { timeoutMs, signal }));
    return code.callDirectStream<I, O>(link, binding, desc, input, call, limits);
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
      const timeoutMs = timeoutOf(binding, givenMs, signal);
      const headers = header && toHeaders(header);
      const watch = link.observer?.calling?.(binding, headers);
      const call = { signal, timeoutMs, header: headers, contextValues, watch };
      return watch
        ? watchCall(watch, () => intercepted<I, O>(binding, method, call, input))
        : intercepted<I, O>(binding, method, call, input);
    } catch (error) {
      return Promise.reject(error);
    }
  }

  function intercepted<I extends DescMessage, O extends DescMessage>(
    binding: MethodBinding,
    method: DescMethodUnary<I, O>,
    call: TransportArguments,
    input: MessageInitShape<I>,
  ): Promise<UnaryResponse<I, O>> {
    return interceptors.length === 0
      ? unary<I, O>(binding, method, call, input)
      : interceptUnary<I, O>(interceptors, method, input, call, (message, its) =>
          unary<I, O>(binding, method, its, message),
        );
  }

  function unaryFunction(binding: MethodBinding): AnyMethod {
    const desc = binding.desc as DescMethodUnary;
    const byTransport = unaryMethod(desc, callUnary);
    if (binding.delivery === "durable") {
      return byTransport;
    }
    const method = directMethod(binding, desc);
    // One shape for all: V8 then runs one optimized code.
    const callBy = (watch: CallArguments["watch"]): CallArguments => ({
      signal: undefined,
      timeoutMs: defaultTimeoutMs,
      header: undefined,
      watch,
    });
    const byDefault = callBy(undefined);
    return (input, options) => {
      if (options !== undefined || interceptors.length > 0) {
        return byTransport(input, options);
      }
      const watch = link.observer?.calling?.(binding);
      return method.message(input, watch ? callBy(watch) : byDefault);
    };
  }

  const transport: Transport = {
    unary: callUnary,

    async stream<I extends DescMessage, O extends DescMessage>(
      method: DescMethodStreaming<I, O>,
      signal: AbortSignal | undefined,
      givenMs: number | undefined,
      header: HeadersInit | undefined,
      input: AsyncIterable<MessageInitShape<I>>,
      contextValues?: ContextValues,
    ): Promise<StreamResponse<I, O>> {
      const binding = bindMethod(method);
      checkRequests(method, input);
      const timeoutMs = timeoutOf(binding, givenMs, signal);
      const headers = header && toHeaders(header);
      const watch = link.observer?.calling?.(binding, headers);
      const call = { signal, timeoutMs, header: headers, contextValues, watch };
      const messages = watch ? watchMessages(watch, input, "sent") : input;
      const open = () =>
        interceptors.length === 0
          ? stream<I, O>(binding, method, call, messages)
          : interceptStream<I, O>(interceptors, method, messages, call, (each, its) =>
              stream<I, O>(binding, method, its, each),
            );
      return watch ? watchStream(watch, signal, open) : open();
    },
  };
  return { transport, unaryMethod: unaryFunction };
}
