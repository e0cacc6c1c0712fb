import type { DescMessage, MessageShape } from "@bufbuild/protobuf";
import type { Progress } from "../gen/jetrpc/v1/call_pb.js";
import type { Priority } from "../schema/binding.js";
import type { CallOptions } from "./call-options.js";
import type { CallStatus } from "./call-status.js";

/** Options of `submit()`. */
export interface SubmitOptions
  extends Pick<CallOptions, "contextValues" | "headers" | "signal" | "timeoutMs"> {
  /**
   * Names the call, so that it can be attached to and is not run twice:
   * 1 to 128 letters, digits or any of `_ = + @ : -`. Default: a new unique id.
   */
  callId?: string | undefined;
  /** The call starts at this time or later, by the server's clock. Default: at once. */
  notBefore?: Date | undefined;
  /**
   * Decides which call has the next free slot of a worker. A method whose option `priorities` is
   * not set knows only `normal`. Default: `normal`.
   */
  priority?: Priority | undefined;
  // timeoutMs: time in ms, from its acceptance or from notBefore, after which the
  // call is not started any more and a running attempt is stopped. Default: none.
  // signal: ends submit() with Canceled, and uploads with it; whether the server has
  // accepted the call is then not known.
}

/** Ends a wait; the call itself goes on. */
export interface SignalOptions {
  /** Ends the wait with Canceled. */
  signal?: AbortSignal | undefined;
}

/** A durable call, of whichever kind. */
export interface Call {
  /** Identifies the call: give it to `attach()`. */
  readonly id: string;

  /**
   * The reports of progress of the call's handler: the last one, if there
   * is one, then each as it comes, until the call ends. Reports may be skipped;
   * the last one never is. Throws NotFound when there is no such call, or none any more.
   */
  progress(options?: SignalOptions): AsyncIterable<Progress>;

  /** How far the call is. Reads no result. Throws NotFound when there is no such call. */
  status(options?: SignalOptions): Promise<CallStatus>;

  /**
   * Ends the call with Canceled: a queued call never runs, the handler of a running
   * one sees its signal fire. False when the call had ended before.
   * Throws NotFound when there is no such call. A signal ends the wait for the answer:
   * whether the call has ended is then not known.
   */
  cancel(options?: SignalOptions): Promise<boolean>;
}

/** A durable call that ends with one message. */
export interface UnaryCall<O extends DescMessage> extends Call {
  /**
   * Waits for the end of the call. Throws the error it ended with; NotFound when there
   * is no such call, or none any more (its queue was purged, say); DataLoss when a part
   * of it is gone; FailedPrecondition, PermissionDenied and the like when its log cannot
   * be read.
   */
  result(options?: WaitOptions): Promise<MessageShape<O>>;
}

/**
 * A durable call that answers with a stream of messages. Each iteration begins
 * with the first message, and throws the error that the call ended with, or what
 * `result()` of a unary call throws.
 */
export interface StreamingCall<O extends DescMessage> extends Call, AsyncIterable<MessageShape<O>> {
  /**
   * The messages from one on: for who has those before it already. Otherwise the same
   * as iterating over the call. Its return() ends a next() that waits. Throws
   * InvalidArgument for an impossible number.
   */
  messages(options?: MessagesOptions): AsyncIterable<MessageShape<O>>;
}

/**
 * Which messages of a streamed response are wanted. `onHeader` and `onTrailer` take the
 * handler's metadata, as with a plain call.
 */
export interface MessagesOptions
  extends SignalOptions,
    Pick<CallOptions, "onHeader" | "onTrailer"> {
  /** Index of the first one, which is how many one has. Default: 0. */
  from?: number | undefined;
}

/**
 * Options of waiting for a call; the call itself goes on when the wait ends. `onHeader` and
 * `onTrailer` take the handler's metadata, as with a plain call.
 */
export interface WaitOptions extends SignalOptions, Pick<CallOptions, "onHeader" | "onTrailer"> {
  /** Ends the wait with DeadlineExceeded after so many ms. Default: none. */
  timeoutMs?: number | undefined;
}
