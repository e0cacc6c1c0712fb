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
import { InterceptedCall, type TransportArguments } from "./intercepted-call.js";

/** Runs interceptors around a unary call. Its errors are ConnectErrors, whoever threw them. */
export function interceptUnary<I extends DescMessage, O extends DescMessage>(
  interceptors: readonly Interceptor[],
  method: DescMethodUnary<I, O>,
  input: MessageInitShape<I>,
  given: TransportArguments,
  next: (input: MessageInitShape<I>, call: CallArguments) => Promise<UnaryResponse<I, O>>,
): Promise<UnaryResponse<I, O>> {
  return run(interceptors, method, normalize(method.input, input), given, next);
}

/** Runs interceptors around a streaming call. Its errors are ConnectErrors, whoever threw them. */
export function interceptStream<I extends DescMessage, O extends DescMessage>(
  interceptors: readonly Interceptor[],
  method: DescMethodStreaming<I, O>,
  input: AsyncIterable<MessageInitShape<I>>,
  given: TransportArguments,
  next: (
    input: AsyncIterable<MessageInitShape<I>>,
    call: CallArguments,
  ) => Promise<StreamResponse<I, O>>,
): Promise<StreamResponse<I, O>> {
  return run(interceptors, method, normalizeAll(method.input, input), given, next);
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
  given: TransportArguments,
  submit: (input: MessageInitShape<I>, call: CallArguments) => Promise<void>,
): Promise<void> {
  const message = normalize(method.input, input);
  const isUnary = method.methodKind === "unary";
  let isSubmitted = false;
  const first = isUnary ? message : asStream(message);
  await run(interceptors, method, first, given, async (passed: typeof first, call) => {
    const message = isUnary ? passed : await onlyMessage(method, passed as AsyncIterable<Message>);
    await submit(message as MessageInitShape<I>, call);
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
  if (!isSubmitted) {
    throw new ConnectError(
      `${method.toString()} was not submitted: an interceptor answered it, and must pass it on`,
      Code.FailedPrecondition,
    );
  }
}

/** Runs interceptors around the last step of a call, and ends the call. */
async function run<M, R>(
  interceptors: readonly Interceptor[],
  method: DescMethodUnary | DescMethodStreaming,
  message: Message | AsyncIterable<Message>,
  given: TransportArguments,
  next: (message: M, call: CallArguments) => Promise<R>,
): Promise<R> {
  const call = new InterceptedCall(method, given);
  const common = { stream: method.methodKind !== "unary", service: method.parent, method };
  const request = {
    ...common,
    requestMethod: "POST",
    url: methodUrl(method.parent, method.name),
    header: given.header ?? new Headers(),
    contextValues: given.contextValues ?? createContextValues(),
    message,
    get signal() {
      return call.signal;
    },
  } as AnyRequest;
  const last = async (req: AnyRequest): Promise<AnyResponse> => {
    const left = call.argumentsOf(req.header, req === request ? undefined : req.signal);
    const { message, header, trailer } = (await next(req.message as M, left)) as AnyResponse;
    // A copy has all of it: `{ ...response }` of a class would not.
    return { ...common, message, header, trailer } as AnyResponse;
  };
  try {
    const response = await chain(interceptors, last)(request);
    if (response.stream) {
      return { ...response, message: call.untilEnd(response.message) } as R;
    }
    call.end();
    return response as R;
  } catch (thrown) {
    throw call.fail(thrown);
  }
}
