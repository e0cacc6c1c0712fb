import type {
  DescMessage,
  DescMethodUnary,
  MessageInitShape,
  MessageShape,
} from "@bufbuild/protobuf";
import type { Transport } from "@connectrpc/connect";
import type { CallOptions } from "./call-options.js";

/** Makes the function of a unary method, as a Connect client does. */
export function unaryMethod<I extends DescMessage, O extends DescMessage>(
  desc: DescMethodUnary<I, O>,
  call: Transport["unary"],
): (request: MessageInitShape<I>, options?: CallOptions) => Promise<MessageShape<O>> {
  return async (request, options) => {
    const response = await call(
      desc,
      options?.signal,
      options?.timeoutMs,
      options?.headers,
      request,
      options?.contextValues,
    );
    options?.onHeader?.(response.header);
    options?.onTrailer?.(response.trailer);
    return response.message;
  };
}
