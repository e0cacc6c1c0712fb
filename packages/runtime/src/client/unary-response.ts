import type { DescMessage, DescMethodUnary } from "@bufbuild/protobuf";
import type { UnaryResponse } from "@connectrpc/connect";
import type { Msg } from "@nats-io/nats-core";
import { readMetadata } from "../message/metadata.js";

/** A response whose metadata is read only when someone asks for it. */
export class LazyUnaryResponse<I extends DescMessage, O extends DescMessage>
  implements UnaryResponse<I, O>
{
  readonly stream = false;
  private headerMetadata: Headers | undefined;
  private trailerMetadata: Headers | undefined;

  constructor(
    readonly method: DescMethodUnary<I, O>,
    readonly message: UnaryResponse<I, O>["message"],
    private readonly wire: Msg,
  ) {}

  get service() {
    return this.method.parent;
  }

  get header(): Headers {
    this.headerMetadata ??= readMetadata(this.wire.headers);
    return this.headerMetadata;
  }

  get trailer(): Headers {
    this.trailerMetadata ??= readMetadata(this.wire.headers, "trailer");
    return this.trailerMetadata;
  }
}
