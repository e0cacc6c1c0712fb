import type { CallStateName, CallStatus, ConnectError, Progress } from "@jetrpc/runtime";

/**
 * How far a followed call is: the states of durable calls, and `idle` without a call id,
 * `loading` until it is known, and `unknown` when the call cannot be followed: `error` says why.
 * It is tried again where that may pass: Unavailable, DeadlineExceeded, ResourceExhausted, Aborted.
 */
export type FollowedState = CallStateName | "idle" | "loading" | "unknown";

/** All that is known of a call at a time: another object whenever something has changed. */
export interface CallSnapshot<M> {
  readonly state: FollowedState;
  readonly status: CallStatus | undefined;
  readonly progress: Progress | undefined;
  readonly messages: readonly M[];
  readonly result: M | undefined;
  readonly error: ConnectError | undefined;
  /** True when all messages, or the result, were read to the end of the call. */
  readonly isRead: boolean;
}

const nothing: Omit<CallSnapshot<never>, "state"> = {
  status: undefined,
  progress: undefined,
  messages: [],
  result: undefined,
  error: undefined,
  isRead: false,
};

/** That of no call. */
export const idle: CallSnapshot<never> = { ...nothing, state: "idle" };

/** That of a call of which nothing is known yet. */
export const loading: CallSnapshot<never> = { ...nothing, state: "loading" };

const ends: ReadonlySet<FollowedState> = new Set(["succeeded", "failed", "cancelled", "expired"]);

/** True for a call that has its result or its error. */
export function isEnd(state: FollowedState): boolean {
  return ends.has(state);
}
