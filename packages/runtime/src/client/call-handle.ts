import type { DescMessage, DescMethod, Message } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";
import type { Call, MessagesOptions, StreamingCall, UnaryCall, WaitOptions } from "./call.js";

/** What is done with a durable call, whatever carries it. */
export interface CallVerbs extends Omit<Call, "id"> {
  /** See {@link UnaryCall}. */
  result(options?: WaitOptions): Promise<Message>;
  /** See {@link StreamingCall}. */
  messages(options: MessagesOptions): AsyncIterableIterator<Message>;
}

/** A durable call to come back to. */
export function callHandle(
  { methodKind }: DescMethod,
  id: string,
  { result, messages: open, ...verbs }: CallVerbs,
): UnaryCall<DescMessage> | StreamingCall<DescMessage> {
  if (methodKind === "unary") {
    return { id, ...verbs, result };
  }
  const messages = (options: MessagesOptions = {}) => {
    const { from = 0 } = options;
    if (!Number.isSafeInteger(from) || from < 0) {
      const text = `messages: from is ${from}, and must be 0 or a greater whole number`;
      throw new ConnectError(text, Code.InvalidArgument);
    }
    return open(options);
  };
  return { id, ...verbs, messages, [Symbol.asyncIterator]: () => messages() };
}
