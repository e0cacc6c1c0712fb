import type { ConnectError } from "@connectrpc/connect";
import { type BackwardRange, BackwardReader } from "../link/backward-reader.js";
import { type FirstOf, getBatch, getLasts } from "../link/direct-batch.js";
import { consumerInfo, streamInfo } from "../link/jetstream-admin.js";
import type { Link } from "../link/link.js";
import type { StoredMessage } from "../link/stored-message.js";
import { openReader } from "../link/stream-reader.js";
import { isStatus, statusOfHeaders } from "../message/status.js";
import { durableMethods, type ServiceBinding } from "../schema/binding.js";
import { type CallName, parseCallSubject } from "../schema/call-id.js";
import { entrySubjectOf, methodNameOf, queueSubjectOfDue } from "../schema/call-subjects.js";
import { attemptsOf, errorOf } from "./dead-letters.js";
import { dueAtMs } from "./later.js";
import { type Entry, type Outcome, parseEntry } from "./log.js";
import { type CallStateName, stateAfter } from "./status-fold.js";
import { StoredRequest } from "./stored-request.js";

/** The places where calls lie. Those that ended and did not fail have their log only. */
export const places = ["later", "due", "queue", "log", "dead"] as const;

/** A place where calls lie. */
export type Place = (typeof places)[number];

/** The calls of a place that are meant; what is left out may be anything. */
export interface CallPattern {
  readonly method?: string | undefined;
  readonly owner?: string | undefined;
  readonly session?: string | undefined;
  readonly id?: string | undefined;
}

/** A call as it was found in a place. */
export interface PlacedCall {
  readonly place: Place;
  /** Sequence of what was found. */
  readonly sequence: number;
  /** When that was stored, in ms since 1970, as are all times here. */
  readonly atMs: number;
  readonly method: string;
  readonly call: CallName;
  readonly state: CallStateName;
  readonly acceptedAtMs: number | undefined;
  readonly endedAtMs: number | undefined;
  readonly startsAtMs: number | undefined;
  readonly attempts: number;
  readonly error: ConnectError | undefined;
}

/** The sequences of a place that hold something. */
export interface PlaceRange {
  readonly first: number;
  /** The first one that holds nothing yet. */
  readonly before: number;
}

function streamOf(service: ServiceBinding, place: Place): string {
  switch (place) {
    case "queue":
      return service.stream;
    case "log":
      return service.logStream;
    case "dead":
      return service.deadStream;
    default:
      return service.laterStream;
  }
}

function subjectOf({ prefix }: ServiceBinding, place: Place, pattern: CallPattern): string {
  const { method = "*", owner = "*", session = "*", id = "*" } = pattern;
  // Queues of all priorities; a dead letter, and not the text beside it, has so many tokens.
  const kind = place === "queue" ? "*" : place === "due" ? "due.*" : place;
  const end = place === "log" ? ".entry" : "";
  return `${prefix}.${kind}.${method}.${owner}.${session}.${id}${end}`;
}

/** What sequences a place has now, those before a time; undefined when it has none. */
export async function rangeOf(
  link: Link,
  service: ServiceBinding,
  place: Place,
  untilMs: number | undefined,
): Promise<PlaceRange | undefined> {
  const stream = streamOf(service, place);
  const info = await streamInfo(link, stream);
  if (!info?.state.messages) {
    return undefined;
  }
  const { first_seq: first, last_seq } = info.state;
  const from = untilMs === undefined ? undefined : startTime(untilMs);
  const later =
    from &&
    (await getBatch(link, stream, { ...from, next_by_subj: `${service.prefix}.>`, batch: 1 }));
  return { first, before: later?.messages[0]?.sequence ?? last_seq + 1 };
}

function startTime(ms: number): Pick<FirstOf, "start_time"> {
  return { start_time: new Date(ms).toISOString() };
}

/** Up to where requests were given to workers: those after it wait. */
export async function deliveredUpTo(link: Link, service: ServiceBinding): Promise<number> {
  const queues = durableMethods(service).flatMap((method) => method.queues);
  const infos = await Promise.all(
    queues.map(({ consumer }) => consumerInfo(link, service.stream, consumer)),
  );
  return Math.max(0, ...infos.map((info) => info?.delivered.stream_seq ?? 0));
}

/** Reads what lies at a place, the newest first. */
export function readPlace(
  link: Link,
  service: ServiceBinding,
  place: Place,
  pattern: CallPattern,
  range: PlaceRange & Pick<BackwardRange, "span" | "withPayloads">,
): BackwardReader {
  const stream = streamOf(service, place);
  const subject = subjectOf(service, place, pattern);
  return new BackwardReader(link, { stream, subject, isQueue: isOpenAt(place), ...range });
}

/** Reads the last message of each call at a place that fits: for patterns that few calls fit. */
export async function lookAtPlace(
  link: Link,
  service: ServiceBinding,
  place: Place,
  pattern: CallPattern,
): Promise<StoredMessage[]> {
  return await getLasts(link, streamOf(service, place), [subjectOf(service, place, pattern)]);
}

/** How many calls of a method lie at a place, from a time on if one is given. */
export async function countPlace(
  link: Link,
  service: ServiceBinding,
  place: Place,
  pattern: CallPattern,
  sinceMs?: number,
): Promise<number> {
  const stream = streamOf(service, place);
  const subject = subjectOf(service, place, pattern);
  if (place === "dead" || place === "log") {
    const reader = await openReader(link, stream, { subject, from: 0, batch: 1 });
    reader.close();
    return reader.pending;
  }
  const from = sinceMs === undefined ? { seq: 1 } : startTime(sinceMs);
  const first = await getBatch(link, stream, { ...from, next_by_subj: subject, batch: 1 });
  return first.messages.length + first.pending;
}

/** True for a place of calls that have not ended: a work queue. */
export function isOpenAt(place: Place): boolean {
  return place !== "log" && place !== "dead";
}

/**
 * The call that a message of a place tells of; {@link withLogs} completes one that has not
 * ended. Undefined for a message of no call, and for the log of a call that is found elsewhere:
 * in `dead`, or where it waits.
 */
export function callAt(
  service: ServiceBinding,
  place: Place,
  message: StoredMessage,
): PlacedCall | undefined {
  return isOpenAt(place)
    ? waiting(service, place, message)
    : place === "dead"
      ? dead(service, message)
      : ended(service, message);
}

/** The end of a call, as a message of the log stream has it. */
export function endAt(stored: StoredMessage): (Entry & { outcome: Outcome }) | undefined {
  const entry = readable(stored);
  return entry?.kind === "end" && entry.outcome
    ? (entry as Entry & { outcome: Outcome })
    : undefined;
}

function placed(
  service: ServiceBinding,
  place: Place,
  { sequence, storedAtMs: atMs }: StoredMessage,
  subject: string,
  rest: Partial<PlacedCall> & Pick<PlacedCall, "state">,
): PlacedCall | undefined {
  const call = parseCallSubject(service, subject);
  const method = methodNameOf(service, subject);
  return call && { place, sequence, atMs, method, call, ...unknown, ...rest };
}

const unknown = {
  acceptedAtMs: undefined,
  endedAtMs: undefined,
  startsAtMs: undefined,
  attempts: 0,
  error: undefined,
};

function waiting(service: ServiceBinding, place: Place, stored: StoredMessage) {
  const request = StoredRequest.of(stored);
  const { withdrawn, acceptedAtMs } = request;
  return placed(service, place, stored, queueSubjectOfDue(service, stored.subject), {
    state: withdrawn ?? (place === "later" ? "scheduled" : "queued"),
    acceptedAtMs,
    ...(place === "later" && { startsAtMs: dueAtMs(request) }),
  });
}

function ended(service: ServiceBinding, stored: StoredMessage) {
  const entry = endAt(stored);
  if (!entry || entry.outcome === "failed") {
    return undefined;
  }
  return placed(service, "log", stored, stored.subject.slice(0, -".entry".length), {
    state: entry.outcome,
    endedAtMs: stored.storedAtMs,
    ...partsOf(entry),
  });
}

function dead(service: ServiceBinding, stored: StoredMessage) {
  return placed(service, "dead", stored, stored.subject, {
    state: "failed",
    acceptedAtMs: StoredRequest.of(stored).acceptedAtMs,
    endedAtMs: stored.storedAtMs,
    attempts: attemptsOf(stored),
    error: errorOf(stored),
  });
}

/** The part of a call that its last entry tells. */
function partsOf({ attempt, message, acceptedAtMs }: Entry) {
  const error = isStatus(message) ? statusOfHeaders(message) : undefined;
  return { attempts: attempt, error, ...(acceptedAtMs !== undefined && { acceptedAtMs }) };
}

function readable({ message, sequence, storedAtMs }: StoredMessage): Entry | undefined {
  try {
    return parseEntry(message, sequence, storedAtMs);
  } catch {
    // Its worker ends the call when it comes to run it.
    return undefined;
  }
}

/** Calls whose last entries are asked for at once. */
const logsAtOnce = 256;

/**
 * Completes calls that have not ended by the last entries of their logs; those that ended are
 * left out where `log` before `logBefore` has them.
 */
export async function withLogs(
  link: Link,
  service: ServiceBinding,
  calls: readonly PlacedCall[],
  logBefore: number,
): Promise<PlacedCall[]> {
  const logs = new Map<string, Entry>();
  for (let at = 0; at < calls.length; at += logsAtOnce) {
    const subjects = calls.slice(at, at + logsAtOnce).map((each) => logSubject(service, each));
    for (const stored of await getLasts(link, service.logStream, subjects)) {
      const entry = readable(stored);
      if (entry) {
        logs.set(stored.subject, entry);
      }
    }
  }
  return calls.flatMap((each) => {
    const last = logs.get(logSubject(service, each));
    if (!last) {
      return each;
    }
    const hasEnded = last.kind === "end";
    if (hasEnded && last.sequence < logBefore) {
      return [];
    }
    // One that has ended since is about to leave.
    const endedAtMs = hasEnded ? last.storedAtMs : undefined;
    return { ...each, ...partsOf(last), state: stateAfter(last), endedAtMs };
  });
}

function logSubject({ prefix }: ServiceBinding, { method, call }: PlacedCall): string {
  return entrySubjectOf({ logSubject: `${prefix}.log.${method}` }, call);
}
