import type { MessageInitShape } from "@bufbuild/protobuf";
import type { ConnectError } from "@jetrpc/runtime";
import type { ListedCall } from "@jetrpc/runtime/operator";
import { codeName } from "@jetrpc/runtime/schema";
import { stateOf } from "./call-filter.js";
import { errorGroupOf } from "./error-group.js";
import type {
  CallErrorSchema,
  CallSummarySchema,
} from "./gen/jetrpc/console/v1/console_service_pb.js";
import { timesOf } from "./times.js";

/** A call as a list has it. */
export function summaryOf(
  service: string,
  call: ListedCall,
): MessageInitShape<typeof CallSummarySchema> {
  const { method, owner, callId, state, attempts, error } = call;
  return {
    name: { service, method, owner, callId },
    state: stateOf(state),
    ...timesOf({
      at: call.at,
      acceptedAt: call.acceptedAt,
      endedAt: call.endedAt,
      startsAt: call.startsAt,
    }),
    attempts,
    ...(error && { error: callError(error) }),
    ...(state === "failed" && { errorGroup: errorGroupOf(service, method, error).key }),
  };
}

export function callError({
  code,
  rawMessage,
}: ConnectError): MessageInitShape<typeof CallErrorSchema> {
  return { code: codeName(code), message: rawMessage };
}
