import { timestampDate } from "@bufbuild/protobuf/wkt";
import type { CallFilter as OperatorFilter } from "@jetrpc/runtime/operator";
import { type CallFilter, CallState } from "./gen/jetrpc/console/v1/console_service_pb.js";
import { invalid } from "./invalid.js";

type StateName = NonNullable<OperatorFilter["states"]>[number];

const stateNames: Readonly<Record<StateName, CallState>> = {
  scheduled: CallState.SCHEDULED,
  queued: CallState.QUEUED,
  running: CallState.RUNNING,
  retrying: CallState.RETRYING,
  succeeded: CallState.SUCCEEDED,
  failed: CallState.FAILED,
  cancelled: CallState.CANCELLED,
  expired: CallState.EXPIRED,
};

/** A state as the contract has it. */
export function stateOf(name: StateName): CallState {
  return stateNames[name];
}

/** A filter as the operator API has it. Throws InvalidArgument. */
export function operatorFilter(filter: CallFilter | undefined): OperatorFilter {
  if (!filter) {
    return {};
  }
  const { service, method, states, owner, callId, callIdPrefix } = filter;
  const { since, until, errorGroup, contains } = filter;
  if (method !== "" && service === "") {
    throw invalid("a method needs its service");
  }
  const wanted = states.map(nameOf);
  if (errorGroup !== "" && wanted.some((state) => state !== "failed")) {
    throw invalid("error_group is of failed calls: leave out the other states");
  }
  return {
    ...(errorGroup !== "" ? { states: ["failed"] } : wanted.length > 0 && { states: wanted }),
    ...(method !== "" && { method }),
    ...(owner !== "" && { owner }),
    ...(callId !== "" && { callId }),
    ...(callIdPrefix !== "" && { callIdPrefix }),
    ...(since && { since: timestampDate(since) }),
    ...(until && { until: timestampDate(until) }),
    ...(contains !== "" && { contains }),
  };
}

/** A filter as a person reads it. */
export function showFilter(filter: CallFilter | undefined): string {
  const { service = "", method = "", ...rest } = operatorFilterParts(filter);
  const name = method ? `${service}.${method}` : service || "all services";
  const parts = Object.entries(rest).map(([key, value]) => `${key} ${value}`);
  return [name, ...parts].join(", ");
}

function operatorFilterParts(filter: CallFilter | undefined): Record<string, string> {
  const { states, since, until, ...texts } = operatorFilter(filter);
  return {
    ...(filter?.service && { service: filter.service }),
    ...(texts as Record<string, string>),
    ...(filter?.errorGroup && { "error group": filter.errorGroup }),
    ...(states && { states: states.join("|") }),
    ...(since && { since: since.toISOString() }),
    ...(until && { until: until.toISOString() }),
  };
}

function nameOf(state: CallState): StateName {
  const found = Object.entries(stateNames).find(([, value]) => value === state);
  if (!found) {
    throw invalid(`there is no state ${state}`);
  }
  return found[0] as StateName;
}
