import type { FollowedState } from "@jetrpc/react";

const texts: Record<FollowedState, string> = {
  idle: "",
  loading: "Loading",
  scheduled: "Later",
  queued: "Waiting",
  running: "Working",
  retrying: "Trying again",
  succeeded: "Done",
  failed: "Failed",
  cancelled: "Canceled",
  expired: "Too late",
  unknown: "Not found",
};

/** Tells a user how far a call is. */
export function stateText(state: FollowedState): string {
  return texts[state];
}

/** True for a call that a worker has, or is to get. */
export function isUnderWay({ state }: { readonly state: FollowedState }): boolean {
  return state === "queued" || state === "running" || state === "retrying";
}
