import { type Timestamp, timestampDate } from "@bufbuild/protobuf/wkt";
import { Code, ConnectError } from "@connectrpc/connect";
import { codeFromString } from "@connectrpc/connect/protocol-connect";
import type { CallStateName, CallStatus } from "@jetrpc/runtime";
import { type CallError, CallState, type StatusResponse } from "./gen/jetrpc/v1/call_service_pb.js";

/** How far a call is, as the runtime says it. */
export function callStatus({
  state,
  acceptedAt,
  endedAt,
  attempts,
  messages,
  progress,
  error,
  workers,
}: StatusResponse): CallStatus {
  return {
    state: CallState[state]?.toLowerCase() as CallStateName,
    ...dates({ acceptedAt, endedAt }),
    attempts: attempts.map((its) => ({
      attempt: its.attempt,
      ...dates({ startedAt: its.startedAt, endedAt: its.endedAt, retryAt: its.retryAt }),
      ...(its.error && { error: connectError(its.error) }),
    })),
    messages,
    ...(progress && { progress }),
    ...(error && { error: connectError(error) }),
    ...(workers !== undefined && { workers }),
  };
}

function connectError({ code, message }: CallError): ConnectError {
  return new ConnectError(message, codeFromString(code) ?? Code.Unknown);
}

function dates<K extends string>(
  timestamps: Record<K, Timestamp | undefined>,
): { [key in K]?: Date } {
  const known = Object.entries<Timestamp | undefined>(timestamps).flatMap(([name, timestamp]) =>
    timestamp ? [[name, timestampDate(timestamp)]] : [],
  );
  return Object.fromEntries(known) as { [key in K]?: Date };
}
