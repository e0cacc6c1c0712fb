import type { DescMessage, MessageInitShape, MessageShape } from "@bufbuild/protobuf";
import {
  Code,
  ConnectError,
  type Interceptor,
  type StreamRequest,
  type StreamResponse,
  type UnaryRequest,
  type UnaryResponse,
} from "@connectrpc/connect";
import { normalize } from "./codec.js";

/** A request as interceptors see it. */
export type AnyRequest = UnaryRequest | StreamRequest;

/** A response as interceptors see it. */
export type AnyResponse = UnaryResponse | StreamResponse;

/** The function that an interceptor passes a request on to. */
export type Next = (request: AnyRequest) => Promise<AnyResponse>;

/** Throws InvalidArgument for an option `interceptors` that is no list of functions. */
export function checkInterceptors(interceptors: readonly Interceptor[] = []): void {
  if (!Array.isArray(interceptors) || interceptors.some((each) => typeof each !== "function")) {
    const text = "interceptors must be a list of functions: [interceptor]";
    throw new ConnectError(text, Code.InvalidArgument);
  }
}

/** Interceptors around the last step of a call, the first outermost. */
export function chain(interceptors: readonly Interceptor[], last: Next): Next {
  return interceptors.reduceRight((next, interceptor) => interceptor(next), last);
}

/** Makes messages of what a caller or handler gives. */
export async function* normalizeAll<D extends DescMessage>(
  schema: D,
  messages: AsyncIterable<MessageInitShape<D>>,
): AsyncGenerator<MessageShape<D>, void, undefined> {
  for await (const message of messages) {
    yield normalize(schema, message);
  }
}

/** Messages as a stream. */
export async function* asStream<T>(...messages: T[]): AsyncGenerator<T, void, undefined> {
  yield* messages;
}
