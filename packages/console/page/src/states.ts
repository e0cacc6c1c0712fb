import { CallState as State } from "../../src/gen/jetrpc/console/v1/console_service_pb.js";
import type { CallState } from "./call-state.js";

/** A state as the page names it. */
export function stateName(state: State): CallState {
  return (State[state] ?? "queued").toLowerCase() as CallState;
}

/** The same as the contract has it. */
export function stateOf(name: string): State {
  return State[name.toUpperCase() as keyof typeof State] ?? State.UNSPECIFIED;
}
