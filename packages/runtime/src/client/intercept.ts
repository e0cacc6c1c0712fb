import type {
  DescMessage,
  DescMethodStreaming,
  DescMethodUnary,
  MessageInitShape,
} from "@bufbuild/protobuf";
import {
  type ContextValues,
  createContextValues,
  type Interceptor,
  type StreamRequest,
  type StreamResponse,
  type UnaryRequest,
  type UnaryResponse,
} from "@connectrpc/connect";
import { normalize } from "../wire/codec.js";
import { type HeadersInit, methodUrl } from "../wire/header.js";
import type { CallArguments } from "./direct-call.js";

/** What a Connect client gives a transport. */
export interface TransportArguments {
  readonly signal: AbortSignal | undefined;
  readonly timeoutMs: number | undefined;
  readonly header: HeadersInit | undefined;
  readonly contextValues: ContextValues | undefined;
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
  const request = withSignal(
    {
      stream: false as const,
      ...requestInit(method, call),
      method,
      message: normalize(method.input, input),
    },
    call,
  );
  const run = chain(interceptors, (req) =>
    next(req.message as MessageInitShape<I>, toArguments(req)),
  );
  return run(request as UnaryRequest) as Promise<UnaryResponse<I, O>>;
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
  const request = withSignal(
    {
      stream: true as const,
      ...requestInit(method, call),
      method,
      message: normalizeAll(method.input, input),
    },
    call,
  );
  const run = chain(interceptors, (req) =>
    next(req.message as AsyncIterable<MessageInitShape<I>>, toArguments(req)),
  );
  return run(request as StreamRequest) as Promise<StreamResponse<I, O>>;
}

type AnyRequest = UnaryRequest | StreamRequest;
type AnyResponse = UnaryResponse | StreamResponse;

/** The first interceptor is the outermost one. */
function chain(
  interceptors: readonly Interceptor[],
  last: (request: AnyRequest) => Promise<AnyResponse>,
): (request: AnyRequest) => Promise<AnyResponse> {
  let next = last;
  for (let i = interceptors.length - 1; i >= 0; i--) {
    next = (interceptors[i] as Interceptor)(next);
  }
  return next;
}

function requestInit(
  { parent, name }: DescMethodUnary | DescMethodStreaming,
  { header, contextValues }: TransportArguments,
) {
  return {
    service: parent,
    requestMethod: "POST",
    url: methodUrl(parent, name),
    header: new Headers(header),
    contextValues: contextValues ?? createContextValues(),
  };
}

/** State of a request whose signal is made when an interceptor asks for it: it costs 3 us. */
interface Original {
  readonly call: TransportArguments;
  isSignalRead: boolean;
}

function withSignal<T extends object>(
  request: T,
  call: TransportArguments,
): T & { readonly signal: AbortSignal } {
  const state: Original = { call, isSignalRead: false };
  let signal = call.signal;
  Object.assign(request, { [original]: state });
  return Object.defineProperty(request as T & { readonly signal: AbortSignal }, "signal", {
    enumerable: true,
    get() {
      state.isSignalRead = true;
      signal ??= new AbortController().signal;
      return signal;
    },
  });
}

/** What is left of the arguments when the interceptors have seen them. */
function toArguments(request: AnyRequest): CallArguments {
  const state = (request as { [original]?: Original })[original];
  return {
    header: request.header,
    timeoutMs: state?.call.timeoutMs,
    signal: state && !state.isSignalRead ? state.call.signal : request.signal,
  };
}

async function* normalizeAll<I extends DescMessage>(
  schema: I,
  input: AsyncIterable<MessageInitShape<I>>,
) {
  for await (const message of input) {
    yield normalize(schema, message);
  }
}
