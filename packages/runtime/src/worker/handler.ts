import type {
  DescMessage,
  DescMethod,
  DescMethodBiDiStreaming,
  DescMethodClientStreaming,
  DescMethodServerStreaming,
  DescMethodUnary,
  DescService,
  MessageInitShape,
  MessageShape,
} from "@bufbuild/protobuf";
import type { HandlerContext } from "@connectrpc/connect";
import type { DurableHandlerContext } from "./context.js";

/**
 * Implementation of a service: Connect's ServiceImpl whose handlers get a
 * {@link DurableHandlerContext}. A worker may implement some methods only.
 *
 * A descriptor's type does not tell which methods are direct. The generated `…Worker`
 * interface does: `satisfies Partial<PdfWorker>` has it checked that these report no progress.
 */
export type WorkerImpl<S extends DescService> = {
  [P in keyof S["method"]]: HandlerOf<S["method"][P]>;
};

type HandlerOf<M extends DescMethod> =
  M extends DescMethodUnary<infer I, infer O>
    ? UnaryHandler<I, O>
    : M extends DescMethodServerStreaming<infer I, infer O>
      ? ServerStreamingHandler<I, O>
      : M extends DescMethodClientStreaming<infer I, infer O>
        ? (
            requests: AsyncIterable<MessageShape<I>>,
            context: HandlerContext,
          ) => Promise<MessageInitShape<O>>
        : M extends DescMethodBiDiStreaming<infer I, infer O>
          ? (
              requests: AsyncIterable<MessageShape<I>>,
              context: HandlerContext,
            ) => AsyncIterable<MessageInitShape<O>>
          : never;

/** Handles a call with one request and one response. */
type UnaryHandler<I extends DescMessage, O extends DescMessage> = (
  request: MessageShape<I>,
  context: DurableHandlerContext,
) => Promise<MessageInitShape<O>> | MessageInitShape<O>;

/** Handles a call with one request and a streamed response. */
type ServerStreamingHandler<I extends DescMessage, O extends DescMessage> = (
  request: MessageShape<I>,
  context: DurableHandlerContext,
) => AsyncIterable<MessageInitShape<O>>;

/** A handler of any kind, for code that treats all methods alike. */
// biome-ignore lint/suspicious/noExplicitAny: the descriptor gives the types at run time
export type AnyHandler = (request: any, context: any) => any;
