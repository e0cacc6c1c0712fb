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

declare const workerType: unique symbol;

/**
 * A service of a generated package: its descriptor, whose type also names the interface
 * of its workers. The interface is for TypeScript alone, nothing of it is there at run time.
 */
export type GeneratedService<S extends DescService, W> = S & { readonly [workerType]?: W };

/**
 * Handlers of a service, by the names of its methods. Of a {@link GeneratedService} they
 * are the interface of its workers: those of durable methods get a
 * {@link DurableHandlerContext}, those of direct methods a HandlerContext. The type of any
 * other descriptor does not tell which methods are direct: then all unary and
 * server-streaming ones get a DurableHandlerContext, and `progress()` of a direct call
 * fails at run time.
 *
 * @example
 * ```ts
 * const handlers: Partial<WorkerImpl<typeof PdfService>> = {
 *   async *extractText(request, context) {
 *     context.progress({ done: 1 });
 *   },
 * };
 * ```
 */
export type WorkerImpl<S extends DescService> = typeof workerType extends keyof S
  ? NonNullable<S[typeof workerType]>
  : { [P in keyof S["method"]]: HandlerOf<S["method"][P]> };

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
