import type { DescMessage, DescMethodUnary } from "@bufbuild/protobuf";
import type { UnaryResponse } from "@connectrpc/connect";
import type { Msg } from "@nats-io/nats-core";
import { readMetadata } from "../message/metadata.js";

/**
 * A response whose metadata is read only when someone asks for it. No class: interceptors copy
 * it, by `{ ...response }`.
 */
export function unaryResponse<I extends DescMessage, O extends DescMessage>(
  method: DescMethodUnary<I, O>,
  message: UnaryResponse<I, O>["message"],
  wire: Msg,
): UnaryResponse<I, O> {
  let header: Headers | undefined;
  let trailer: Headers | undefined;
  return {
    stream: false,
    service: method.parent,
    method,
    message,
    get header() {
      header ??= readMetadata(wire.headers);
      return header;
    },
    get trailer() {
      trailer ??= readMetadata(wire.headers, "trailer");
      return trailer;
    },
  };
}
