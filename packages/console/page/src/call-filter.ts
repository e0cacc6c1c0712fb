import type { MessageInitShape } from "@bufbuild/protobuf";
import type { CallFilterSchema } from "../../src/gen/jetrpc/console/v1/console_service_pb.js";
import { stateOf } from "./states.js";
import { timestampOf } from "./timestamps.js";

/** What the address of a list says. */
export interface ListFilter {
  service: string;
  method: string;
  states: readonly string[];
  owner: string;
  /** An id, or its beginning. */
  id: string;
  /** What an id, an error, a request or a result has in it. */
  text: string;
  /** `1h`, or a time. */
  since: string;
  until: string;
  /** A group of dead letters. */
  group: string;
}

export function readFilter(query: URLSearchParams): ListFilter {
  const text = (name: string) => query.get(name) ?? "";
  return {
    service: text("service"),
    method: text("method"),
    states: query.getAll("state"),
    owner: text("owner"),
    id: text("id"),
    text: text("text"),
    since: text("since"),
    until: text("until"),
    group: text("group"),
  };
}

export function toQuery({
  states,
  ...rest
}: ListFilter): Record<string, string | readonly string[]> {
  return { ...rest, state: states };
}

/** The same for the server. The id is a beginning, unless the whole one is asked for. */
export function filterOf(
  { service, method, states, owner, id, text, since, until, group }: ListFilter,
  { isWholeId = false } = {},
): MessageInitShape<typeof CallFilterSchema> {
  return {
    service,
    method,
    states: states.map(stateOf),
    owner,
    ...(isWholeId ? { callId: id } : { callIdPrefix: id }),
    ...(since && { since: timestampOf(timeOf(since)) }),
    ...(until && { until: timestampOf(timeOf(until)) }),
    errorGroup: group,
    contains: text,
  } as MessageInitShape<typeof CallFilterSchema>;
}

const units: Record<string, number> = { m: 60_000, h: 3_600_000, d: 86_400_000 };

function timeOf(text: string): Date | undefined {
  const [, amount, unit = ""] = /^(\d+)([mhd])$/.exec(text) ?? [];
  const time = amount ? new Date(Date.now() - Number(amount) * (units[unit] ?? 0)) : new Date(text);
  return Number.isNaN(Number(time)) ? undefined : time;
}

/** A filter in words: "failed calls of PdfService.Split, of owner shop". */
export function describeFilter(filter: Partial<ListFilter>): string {
  const { service, method, states = [], owner, id, text, since, until, group } = filter;
  return [
    `${states.join(" and ").replace("cancelled", "canceled")} calls`.trim(),
    service && `of ${service}${method ? `.${method}` : ""}`,
    owner && `of owner ${owner}`,
    id && `whose id begins with ${id}`,
    text && `that contain “${text}”`,
    since &&
      `since ${since.replace(/^(\d+)m$/, "$1 min").replace(/^(\d+) ?(min|h|d)$/, "$1 $2 ago")}`,
    until && `until ${until.replace("T", " ").replace(/(:00\.000)?Z$/, " UTC")}`,
    group && "with this error",
  ]
    .filter(Boolean)
    .join(", ")
    .replace(", of", " of");
}
