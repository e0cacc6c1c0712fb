/**
 * React hooks for durable calls of jetrpc.
 *
 * @module
 */
export type { FollowedState } from "./call-snapshot.js";
export type { FollowOptions } from "./call-store.js";
export { type CallView, type StreamingCallView, type UnaryCallView, useCall } from "./use-call.js";
export { type SubmitView, useSubmit } from "./use-submit.js";
