import type { MessageInitShape } from "@bufbuild/protobuf";
import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import type { CallFilter } from "@jetrpc/runtime/operator";
import { summaryOf } from "./call-summary.js";
import { type ErrorGroup, errorGroupOf } from "./error-group.js";
import type {
  DeadLetterGroupSchema,
  GroupDeadLettersResponseSchema,
} from "./gen/jetrpc/console/v1/console_service_pb.js";
import type { FoundCall } from "./merged-page.js";
import type { Operated } from "./target.js";

/** Failed calls of a service that are looked at, the newest. */
const maxLooked = 20_000;

interface Group extends ErrorGroup {
  readonly newest: FoundCall;
  count: number;
  firstAt: Date;
}

/** The failed calls of services by method and error, the largest group first. */
export async function groupDeadLetters(
  operators: readonly Operated[],
  filter: CallFilter,
): Promise<MessageInitShape<typeof GroupDeadLettersResponseSchema>> {
  const groups = new Map<string, Group>();
  let lookedBackTo: Date | undefined;
  for (const { service, operator } of operators) {
    let looked = 0;
    for await (const call of operator.calls({ ...filter, states: ["failed"] })) {
      if (looked++ >= maxLooked) {
        lookedBackTo = lookedBackTo && lookedBackTo > call.at ? lookedBackTo : call.at;
        break;
      }
      const group = errorGroupOf(service.typeName, call.method, call.error);
      const known = groups.get(group.key);
      if (known) {
        known.count++;
        known.firstAt = call.at;
      } else {
        const newest = { service: service.typeName, call };
        groups.set(group.key, { ...group, newest, count: 1, firstAt: call.at });
      }
    }
  }
  const sorted = [...groups.values()].sort((a, b) => b.count - a.count);
  return {
    groups: sorted.map(showGroup),
    ...(lookedBackTo && { lookedBackTo: timestampFromDate(lookedBackTo) }),
  };
}

function showGroup({
  key,
  code,
  pattern,
  newest: { service, call },
  count,
  firstAt,
}: Group): MessageInitShape<typeof DeadLetterGroupSchema> {
  return {
    errorGroup: key,
    service,
    method: call.method,
    code,
    pattern,
    count: BigInt(count),
    firstAt: timestampFromDate(firstAt),
    lastAt: timestampFromDate(call.at),
    example: summaryOf(service, call),
  };
}
