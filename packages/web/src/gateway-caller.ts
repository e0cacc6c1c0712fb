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
import type { SubmitOptions } from "@jetrpc/runtime";
import {
  bindMethod,
  type Caller,
  callHandle,
  checkCallId,
  checkTimeoutMs,
  type HeadersInit,
  holdsBlobs,
  interceptStream,
  interceptSubmit,
  interceptUnary,
  type MethodBinding,
  neverRan,
  onlyMessage,
  submitAll,
  type TransportArguments,
  toHeaders,
} from "@jetrpc/runtime/caller";
import { newCallId } from "./call-id.js";
import type { GatewayCalls } from "./gateway-calls.js";
import type { Wait, Waits } from "./wait.js";

/** What the calls of a connection need. */
export interface CallerParts {
  /** Sends requests to the gateway. */
  readonly http: Transport;
  readonly calls: GatewayCalls;
  /** Who waits on the connection. */
  readonly waits: Waits;
  readonly interceptors: readonly Interceptor[];
  /** Of direct calls, in ms; undefined for the method's own. */
  readonly defaultTimeoutMs: number | undefined;
}

/** The arguments of a call, as interceptors left them. */
type CallArguments = Omit<TransportArguments, "contextValues">;

/** The longest time of a call that a request can name and a timer can wait for, in ms. */
const longestMs = 2 ** 31 - 1;

/** Makes the calls of clients at a gateway. */
export function createCaller(parts: CallerParts): Caller {
  const { calls, interceptors } = parts;
  return {
    transport: createTransport(parts),
    durable({ desc }) {
      const handle = (id: string) =>
        callHandle(desc, id, {
          progress: (options) => calls.progress(desc, id, options),
          status: (options) => calls.status(desc, id, options),
          cancel: (options) => calls.cancel(desc, id, options),
          result: (options) => calls.result(desc, id, options),
          messages: (options) => calls.messages(desc, id, options),
        });
      const submit = async (
        request: MessageInitShape<DescMessage>,
        options: SubmitOptions = {},
      ) => {
        const { callId } = options;
        checkTimeoutMs(options.timeoutMs);
        const id = callId === undefined ? newCallId() : checkCallId(callId);
        const { headers, contextValues, signal } = options;
        if (interceptors.length === 0) {
          await calls.submit(desc, id, request, options);
        } else {
          const header = headers && toHeaders(headers);
          const passed = { signal, timeoutMs: undefined, header, contextValues };
          await interceptSubmit(
            interceptors,
            desc as DescMethodUnary,
            request,
            passed,
            (message, { header: headers, signal }) =>
              calls.submit(desc, id, message, { ...options, headers, signal }),
          );
        }
        return handle(id);
      };
      return {
        submit,
        submitAll: (requests, options) =>
          submitAll(
            requests,
            (request, index) => submit(request, options?.(request, index)),
            holdsBlobs(desc.input),
          ),
        attach: (callId) => handle(callId),
      };
    },
  };
}

function createTransport({
  http,
  calls,
  waits,
  interceptors,
  defaultTimeoutMs,
}: CallerParts): Transport {
  async function unary<I extends DescMessage, O extends DescMessage>(
    binding: MethodBinding,
    desc: DescMethodUnary<I, O>,
    call: CallArguments,
    input: MessageInitShape<I>,
  ): Promise<UnaryResponse<I, O>> {
    if (binding.delivery === "durable") {
      return durableUnary(desc, call, input);
    }
    const wait = waits.begin({ signal: call.signal });
    try {
      const { timeoutMs, header } = timeOf(binding, call);
      return await http.unary(desc, wait.signal, timeoutMs, header, input);
    } catch (error) {
      throw marked(error);
    } finally {
      wait.end();
    }
  }

  async function durableUnary<I extends DescMessage, O extends DescMessage>(
    desc: DescMethodUnary<I, O>,
    { signal, timeoutMs, header: headers }: CallArguments,
    input: MessageInitShape<I>,
  ): Promise<UnaryResponse<I, O>> {
    const id = newCallId();
    const beganAt = performance.now();
    await calls.submit(desc, id, input, { headers, signal, timeoutMs });
    let header = new Headers();
    let trailer = new Headers();
    const message = await calls.result(desc, id, {
      signal,
      timeoutMs: leftOf(timeoutMs, beganAt),
      onHeader: (its) => {
        header = its;
      },
      onTrailer: (its) => {
        trailer = its;
      },
    });
    return { stream: false, service: desc.parent, method: desc, header, trailer, message };
  }

  async function stream<I extends DescMessage, O extends DescMessage>(
    binding: MethodBinding,
    desc: DescMethodStreaming<I, O>,
    call: CallArguments,
    input: AsyncIterable<MessageInitShape<I>>,
  ): Promise<StreamResponse<I, O>> {
    if (desc.methodKind !== "server_streaming") {
      const text = `${desc.toString()} streams its requests, which browsers cannot over HTTP: call it over NATS`;
      throw neverRan(new ConnectError(text, Code.Unimplemented));
    }
    if (binding.delivery === "durable") {
      return durableStream(desc, call, input);
    }
    const wait = waits.begin({ signal: call.signal });
    try {
      const { timeoutMs, header } = timeOf(binding, call);
      const response = await http.stream(desc, wait.signal, timeoutMs, header, input);
      return { ...response, message: readUntil(response.message, wait) };
    } catch (error) {
      wait.end();
      throw marked(error);
    }
  }

  async function durableStream<I extends DescMessage, O extends DescMessage>(
    desc: DescMethodStreaming<I, O>,
    { signal, timeoutMs, header: headers }: CallArguments,
    input: AsyncIterable<MessageInitShape<I>>,
  ): Promise<StreamResponse<I, O>> {
    const id = newCallId();
    const request = await onlyMessage(desc, input);
    const beganAt = performance.now();
    await calls.submit(desc, id, request, { headers, signal, timeoutMs });
    let header: Headers | undefined;
    const trailer = new Headers();
    const message = calls.messages<O>(desc, id, {
      signal,
      timeoutMs: leftOf(timeoutMs, beganAt),
      onHeader: (its) => {
        header ??= its;
      },
      onTrailer: (its) => {
        its.forEach((value, name) => {
          trailer.set(name, value);
        });
      },
    });
    // The response header comes with the first message.
    await message.peek().catch((error) => {
      // An error that the call ended with is read after the header.
      if (!header) {
        throw error;
      }
    });
    const method = desc;
    return {
      stream: true,
      service: desc.parent,
      method,
      header: header ?? new Headers(),
      trailer,
      message,
    };
  }

  /** The time of a direct call, for both sides. */
  function timeOf(binding: MethodBinding, { timeoutMs, header }: CallArguments) {
    const ms = timeoutMs ?? defaultTimeoutMs ?? binding.timeoutMs;
    if (ms > 0 && ms <= longestMs) {
      return { timeoutMs: Math.ceil(ms), header };
    }
    // No limit: the gateway would take the method's own.
    const headers = new Headers(header);
    headers.set("Connect-Timeout-Ms", String(longestMs));
    return { timeoutMs: undefined, header: headers };
  }

  return {
    async unary(method, signal, timeoutMs, header, input, contextValues) {
      const binding = bindMethod(method);
      const call = argumentsOf(signal, timeoutMs, header, contextValues);
      return interceptors.length === 0
        ? unary(binding, method, call, input)
        : interceptUnary(interceptors, method, input, call, (message, its) =>
            unary(binding, method, its, message),
          );
    },
    async stream(method, signal, timeoutMs, header, input, contextValues) {
      const binding = bindMethod(method);
      const call = argumentsOf(signal, timeoutMs, header, contextValues);
      return interceptors.length === 0
        ? stream(binding, method, call, input)
        : interceptStream(interceptors, method, input, call, (messages, its) =>
            stream(binding, method, its, messages),
          );
    },
  };
}

/** The arguments of a call, checked. Throws InvalidArgument for what is no time. */
function argumentsOf(
  signal: AbortSignal | undefined,
  timeoutMs: number | undefined,
  header: HeadersInit | undefined,
  contextValues: ContextValues | undefined,
): TransportArguments {
  checkTimeoutMs(timeoutMs);
  return { signal, timeoutMs, header: header && toHeaders(header), contextValues };
}

/** The time that is left of a call's, in ms; undefined without a limit. */
function leftOf(timeoutMs: number | undefined, beganAt: number): number | undefined {
  return timeoutMs !== undefined && timeoutMs > 0
    ? Math.max(1, timeoutMs - (performance.now() - beganAt))
    : undefined;
}

async function* readUntil<T>(messages: AsyncIterable<T>, wait: Wait): AsyncGenerator<T> {
  try {
    yield* messages;
  } catch (error) {
    throw marked(error);
  } finally {
    wait.leave(new ConnectError("the reader has left", Code.Canceled));
    wait.end();
  }
}

/** The gateway says of an error that the call surely reached no handler. */
const notRunHeader = "jetrpc-not-run";

function marked(thrown: unknown): ConnectError {
  const error = ConnectError.from(thrown);
  return error.metadata.has(notRunHeader) ? neverRan(error) : error;
}
