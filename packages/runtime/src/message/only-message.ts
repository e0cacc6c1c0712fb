import type { DescMethod } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";

/** The one message of a request. Throws InvalidArgument when there is none. */
export async function onlyMessage<T>(method: DescMethod, messages: AsyncIterable<T>): Promise<T> {
  for await (const message of messages) {
    return message;
  }
  throw noRequest(method);
}

/** Throws InvalidArgument for what is no stream of requests. */
export function checkRequests(method: DescMethod, requests: unknown): void {
  const { [Symbol.asyncIterator]: iterate } = Object(requests);
  if (typeof iterate !== "function") {
    throw new ConnectError(
      `${method.toString()} streams its requests: give an AsyncIterable, such as an async generator`,
      Code.InvalidArgument,
    );
  }
}

/** The error of a request without a message. */
export function noRequest(method: DescMethod): ConnectError {
  return new ConnectError(`${method.toString()} needs a request message`, Code.InvalidArgument);
}
