import {
  create,
  type DescMessage,
  type DescMethodStreaming,
  type DescMethodUnary,
  type Message,
  type MessageInitShape,
} from "@bufbuild/protobuf";
import {
  Code,
  ConnectError,
  type ContextValues,
  createContextValues,
  type Interceptor,
  type StreamResponse,
  type UnaryResponse,
} from "@connectrpc/connect";
import { normalize } from "../message/codec.js";
import { methodUrl } from "../message/header.js";
import {
  type AnyRequest,
  type AnyResponse,
  asStream,
  chain,
  normalizeAll,
} from "../message/interceptor-chain.js";
import { onlyMessage } from "../message/only-message.js";
import type { CallArguments } from "./direct-request.js";

/** The arguments that a Connect client gives a transport. */
export interface TransportArguments {
  readonly signal: AbortSignal | undefined;
  readonly timeoutMs: number | undefined;
  readonly header: Headers | undefined;
  readonly contextValues: ContextValues | undefined;
  readonly watch?: CallArguments["watch"];
}

/** Keeps what no request of Connect carries; a copy of the request has it, too. */
const original = Symbol("jetrpc.arguments");

/** Runs interceptors around a unary call. */
export function interceptUnary<I extends DescMessage, O extends DescMessage>(
  interceptors: readonly Interceptor[],
  method: DescMethodUnary<I, O>,
  input: MessageInitShape<I>,
  call: TransportArguments,
  next: (input: MessageInitShape<I>, call: CallArguments) => Promise<UnaryResponse<I, O>>,
): Promise<UnaryResponse<I, O>> {
  const request = toRequest(method, normalize(method.input, input), call);
  const run = chain(interceptors, async (req) =>
    next(req.message as MessageInitShape<I>, toArguments(req, call)),
  );
  return run(request) as Promise<UnaryResponse<I, O>>;
}

/** Runs interceptors around a streaming call. */
export function interceptStream<I extends DescMessage, O extends DescMessage>(
  interceptors: readonly Interceptor[],
  method: DescMethodStreaming<I, O>,
  input: AsyncIterable<MessageInitShape<I>>,
  call: TransportArguments,
  next: (
    input: AsyncIterable<MessageInitShape<I>>,
    call: CallArguments,
  ) => Promise<StreamResponse<I, O>>,
): Promise<StreamResponse<I, O>> {
  const request = toRequest(method, normalizeAll(method.input, input), call);
  const run = chain(interceptors, async (req) =>
    next(req.message as AsyncIterable<MessageInitShape<I>>, toArguments(req, call)),
  );
  return run(request) as Promise<StreamResponse<I, O>>;
}

/**
 * Runs interceptors around the submission of a call. It has no result yet: they see a
 * response without metadata, whose message is empty, or a stream without messages.
 * Throws FailedPrecondition when one of them answers instead of passing the call on.
 */
export async function interceptSubmit<I extends DescMessage>(
  interceptors: readonly Interceptor[],
  method: DescMethodUnary<I> | DescMethodStreaming<I>,
  input: MessageInitShape<I>,
  call: TransportArguments,
  submit: (input: MessageInitShape<I>, call: CallArguments) => Promise<void>,
): Promise<void> {
  const message = normalize(method.input, input);
  const isUnary = method.methodKind === "unary";
  const request = toRequest(method, isUnary ? message : asStream(message), call);
  let isSubmitted = false;
  const run = chain(interceptors, async (req) => {
    const given = req.stream ? await onlyMessage(method, req.message) : req.message;
    await submit(given as MessageInitShape<I>, toArguments(req, call));
    isSubmitted = true;
    return {
      stream: !isUnary,
      service: method.parent,
      method,
      header: new Headers(),
      trailer: new Headers(),
      message: isUnary ? create(method.output) : asStream(),
    } as AnyResponse;
  });
  await run(request);
  if (!isSubmitted) {
    throw new ConnectError(
      `${method.toString()} was not submitted: an interceptor answered it, and must pass it on`,
      Code.FailedPrecondition,
    );
  }
}

/**
 * The request as interceptors see it. Its signal is made when one asks for it: that
 * costs 3 us.
 */
function toRequest(
  method: DescMethodUnary | DescMethodStreaming,
  message: Message | AsyncIterable<Message>,
  call: TransportArguments,
): AnyRequest {
  const { timeoutMs } = call;
  const state: Original = {
    call,
    signal: undefined,
    endsAt: timeoutMs !== undefined && timeoutMs > 0 ? performance.now() + timeoutMs : undefined,
  };
  return {
    stream: method.methodKind !== "unary",
    service: method.parent,
    method,
    requestMethod: "POST",
    url: methodUrl(method.parent, method.name),
    header: call.header ?? new Headers(),
    contextValues: call.contextValues ?? createContextValues(),
    message,
    [original]: state,
    get signal() {
      state.signal ??= call.signal ?? new AbortController().signal;
      return state.signal;
    },
  } as AnyRequest;
}

interface Original {
  readonly call: TransportArguments;
  /** The signal that interceptors were given, if one asked. */
  signal: AbortSignal | undefined;
  /** When the call's time is over, on the clock of performance.now(). */
  readonly endsAt: number | undefined;
}

/**
 * The arguments as the interceptors left them, with the time that they and earlier attempts
 * left. Throws DeadlineExceeded when no time is left.
 */
function toArguments(
  request: AnyRequest,
  { timeoutMs: given, watch }: TransportArguments,
): CallArguments {
  const { header } = request;
  const state = (request as { [original]?: Original })[original];
  if (!state) {
    // A request that an interceptor made anew.
    return { header, timeoutMs: given, signal: request.signal, watch };
  }
  let { timeoutMs } = state.call;
  if (state.endsAt !== undefined) {
    const left = state.endsAt - performance.now();
    if (left <= 0) {
      throw new ConnectError(
        `${request.method.toString()} did not end within ${timeoutMs} ms`,
        Code.DeadlineExceeded,
      );
    }
    timeoutMs = Math.ceil(left);
  }
  const signal = state.signal ? request.signal : state.call.signal;
  return { header, timeoutMs, signal, watch };
}
