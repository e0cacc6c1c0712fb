import type { DescMessage, MessageInitShape, MessageShape } from "@bufbuild/protobuf";
import type { StreamingCall, SubmitOptions, UnaryCall } from "./call.js";
import type { CallOptions } from "./call-options.js";
import type { Submitted } from "./submit-all.js";

/** Calls a method that takes one message and answers with one. */
export type UnaryMethod<I extends DescMessage, O extends DescMessage> = (
  request: MessageInitShape<I>,
  options?: CallOptions,
) => Promise<MessageShape<O>>;

/** Calls a method that takes one message and answers with many. */
export type ServerStreamingMethod<I extends DescMessage, O extends DescMessage> = (
  request: MessageInitShape<I>,
  options?: CallOptions,
) => AsyncIterable<MessageShape<O>>;

/** Calls a method that takes many messages and answers with one. */
export type ClientStreamingMethod<I extends DescMessage, O extends DescMessage> = (
  requests: AsyncIterable<MessageInitShape<I>>,
  options?: CallOptions,
) => Promise<MessageShape<O>>;

/** Calls a method that takes many messages and answers with many. */
export type BidiStreamingMethod<I extends DescMessage, O extends DescMessage> = (
  requests: AsyncIterable<MessageInitShape<I>>,
  options?: CallOptions,
) => AsyncIterable<MessageShape<O>>;

/** A durable method can be submitted and attached to, besides being called. */
export interface Durable<I extends DescMessage, C> {
  /**
   * Stores the call and returns as soon as the server has accepted it: from
   * then on it will be done, whatever crashes.
   *
   * Errors: Unavailable when the server cannot be reached or has no stream for
   * the service, PermissionDenied and FailedPrecondition when it may not or cannot
   * have one, ResourceExhausted when the queue is full or too old, and when the headers
   * have more than 32 KiB or a quarter of the server's max_payload; AlreadyExists when
   * the call id was used for another request, InvalidArgument for an impossible call id,
   * option, header or request.
   */
  submit(request: MessageInitShape<I>, options?: SubmitOptions): Promise<C>;

  /**
   * Submits many calls, some hundred at once, and tells of each in its order: the
   * call, or why it was not accepted. `options` gives the options of each.
   */
  submitAll(
    requests: Iterable<MessageInitShape<I>> | AsyncIterable<MessageInitShape<I>>,
    options?: (request: MessageInitShape<I>, index: number) => SubmitOptions,
  ): AsyncIterable<Submitted<C>>;

  /**
   * Comes back to a call by its id, from any process and at any time while its
   * log is kept. What happened so far is read first, then what happens.
   * An unknown id is reported as NotFound by what reads the call.
   */
  attach(callId: string): C;
}

/** A durable {@link UnaryMethod}: calling it submits the call and waits for its end. */
export interface DurableUnaryMethod<I extends DescMessage, O extends DescMessage>
  extends Durable<I, UnaryCall<O>> {
  (request: MessageInitShape<I>, options?: CallOptions): Promise<MessageShape<O>>;
}

/** A durable {@link ServerStreamingMethod}: calling it submits the call and follows it. */
export interface DurableServerStreamingMethod<I extends DescMessage, O extends DescMessage>
  extends Durable<I, StreamingCall<O>> {
  (request: MessageInitShape<I>, options?: CallOptions): AsyncIterable<MessageShape<O>>;
}
