import type { DescMessage, MessageShape } from "@bufbuild/protobuf";
import type {
  CallStatus,
  ConnectError,
  DurableServerStreamingMethod,
  DurableUnaryMethod,
  Progress,
} from "@jetrpc/runtime";
import { useCallback, useMemo, useSyncExternalStore } from "react";
import { type CallSnapshot, type FollowedState, idle, isEnd, loading } from "./call-snapshot.js";
import type { FollowOptions } from "./call-store.js";
import { type Attachable, cancelCall, followCall, snapshotOf } from "./followed-calls.js";

/** What a component knows of a durable call. */
export interface CallView {
  readonly callId: string | undefined;
  /**
   * How far the call is. `idle` without a call id; `loading` until it is known, and while what
   * is stored of a call that has ended is read; `unknown` when it cannot be followed.
   */
  readonly state: FollowedState;
  /** The last report of the handler. */
  readonly progress: Progress | undefined;
  /**
   * The error that the call ended with; in state `unknown` why it cannot be followed: NotFound
   * when there is no such call.
   */
  readonly error: ConnectError | undefined;
  /**
   * The call as it was looked at last: times, attempts, how many workers there are. It is
   * looked at in the beginning, and whenever nothing was heard of it for some time.
   */
  readonly status: CallStatus | undefined;
  /**
   * Ends the call; false when it had ended before. Rejects with NotFound, Unavailable and the
   * like, as `cancel()` of the call. The same function while method and id are the same.
   */
  cancel(): Promise<boolean>;
}

/** A durable call that ends with one message. */
export interface UnaryCallView<M> extends CallView {
  /** The message that the call ended with. */
  readonly result: M | undefined;
}

/** A durable call that answers with a stream of messages. */
export interface StreamingCallView<M> extends CallView {
  /**
   * The messages so far. The array is another one when there are more, once a frame; its
   * elements stay the same objects.
   */
  readonly messages: readonly M[];
}

/**
 * Follows a durable call, and renders again when something of it changes. However many
 * components look at a call, it is followed once. The call goes on when all of them are gone.
 *
 * `method` is a durable method of a client, `pdf.extractText`. The client is made once, not in
 * a component: another function is another method. Without a `callId` it is `idle`.
 */
export function useCall<I extends DescMessage, O extends DescMessage>(
  method: DurableServerStreamingMethod<I, O>,
  callId: string | undefined,
  options?: FollowOptions,
): StreamingCallView<MessageShape<O>>;
export function useCall<I extends DescMessage, O extends DescMessage>(
  method: DurableUnaryMethod<I, O>,
  callId: string | undefined,
  options?: FollowOptions,
): UnaryCallView<MessageShape<O>>;
export function useCall(
  method: Attachable<unknown>,
  callId: string | undefined,
  { messages = true, progress = true }: FollowOptions = {},
): CallView {
  const subscribe = useCallback(
    (listener: () => void) =>
      callId === undefined
        ? () => undefined
        : followCall(method, callId, listener, { messages, progress }),
    [method, callId, messages, progress],
  );
  const snapshot = useSyncExternalStore<CallSnapshot<unknown>>(
    subscribe,
    () => (callId === undefined ? idle : snapshotOf(method, callId)),
    () => (callId === undefined ? idle : loading),
  );
  const cancel = useCallback(
    async () => callId !== undefined && (await cancelCall(method, callId)),
    [method, callId],
  );
  return useMemo(() => {
    const { isRead, ...known } = snapshot;
    const isIncomplete = messages && !isRead && isEnd(known.state);
    return {
      ...known,
      ...(isIncomplete && { state: "loading" as const, error: undefined }),
      callId,
      cancel,
    };
  }, [snapshot, messages, callId, cancel]);
}
