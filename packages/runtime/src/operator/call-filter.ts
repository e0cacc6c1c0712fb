import { Code, ConnectError } from "@connectrpc/connect";
import type { CallPattern, Place, PlacedCall } from "../ledger/call-places.js";
import type { CallStateName } from "../ledger/status-fold.js";
import { durableMethods, type MethodBinding, type ServiceBinding } from "../schema/binding.js";
import { checkCallId, checkOwner, nameCall } from "../schema/call-id.js";

/** Which calls are wanted. Default: all. Each field that is given narrows it further. */
export interface CallFilter {
  /** In one of these states. */
  states?: readonly CallStateName[] | undefined;
  /** Name of the method, as the .proto writes it or as the client does. */
  method?: string | undefined;
  owner?: string | undefined;
  /** The whole id. Two owners, and two methods, may each have a call of the same id. */
  callId?: string | undefined;
  /** The beginning of the id. */
  callIdPrefix?: string | undefined;
  /**
   * A text in its id, its error, its request or its result, as their JSON shows values; capitals
   * make no difference. The server keeps the request of a call that has not ended, or has failed,
   * and the result of one that succeeded. Not looked into are bytes, files, responses of streams,
   * and what is too large for a message. The server has no index of it: each call is read, newest
   * first, with all that it holds.
   */
  contains?: string | undefined;
  /** `at` of the call is this or later: see {@link ListedCall.at}. */
  since?: Date | undefined;
  /** `at` of the call is before this. */
  until?: Date | undefined;
}

/** A page of a list. */
export interface PageOptions {
  /** Most calls of the page, 1 to 1,000. Default: 100. */
  pageSize?: number | undefined;
  /** `nextPageToken` of the page before; with the same filter. Default: the first page. */
  pageToken?: string | undefined;
}

/** Where calls of a state lie. */
const placesOf: Record<CallStateName, readonly Place[]> = {
  scheduled: ["later"],
  queued: ["due", "queue"],
  running: ["queue"],
  retrying: ["queue"],
  succeeded: ["log"],
  failed: ["dead"],
  cancelled: ["log"],
  expired: ["log"],
};

/** The names of all states. */
export const callStates = Object.keys(placesOf) as readonly CallStateName[];

/** The states of a call that has not ended. */
export const openStates: readonly CallStateName[] = ["scheduled", "queued", "running", "retrying"];

/** A filter, checked. */
export class Selection {
  readonly states: readonly CallStateName[];
  readonly pattern: CallPattern;
  readonly sinceMs: number | undefined;
  readonly untilMs: number | undefined;
  readonly contains: string | undefined;
  /** What the pages of one list have in common. */
  readonly key: string;
  private readonly prefix: string;

  /** Throws InvalidArgument for what no call can be. */
  constructor(service: ServiceBinding, filter: CallFilter) {
    const { states, method, owner, callId, callIdPrefix = "", since, until, contains } = filter;
    if (states !== undefined && !Array.isArray(states)) {
      throw invalid('states must be a list, such as ["failed"]');
    }
    const wrong = states?.find((state) => !callStates.includes(state));
    if (wrong !== undefined) {
      throw invalid(`there is no state "${wrong}": it is one of ${callStates.join(", ")}`);
    }
    if (callId !== undefined && callIdPrefix) {
      throw invalid("give callId or callIdPrefix, and not both");
    }
    this.states = states?.length ? states : callStates;
    this.prefix = callIdPrefix;
    this.sinceMs = timeOf("since", since);
    this.untilMs = timeOf("until", until);
    this.contains = contains || undefined;
    this.pattern = {
      method: method === undefined ? undefined : durableMethod(service, method).desc.name,
      owner: owner === undefined ? undefined : checkOwner(owner),
      ...(callId === undefined ? sessionOf(callIdPrefix) : tokensOf(callId)),
    };
    const { sinceMs, untilMs, pattern } = this;
    const key = [states ?? [], pattern, callIdPrefix, sinceMs, untilMs];
    this.key = JSON.stringify(contains ? [...key, contains] : key);
  }

  /** The places where such calls may lie. */
  get places(): Place[] {
    return [...new Set(this.states.flatMap((state) => placesOf[state]))];
  }

  /** True for calls that all have been given to a worker. */
  get isDelivered(): boolean {
    return this.states.every(
      (state) => !openStates.includes(state) || placesOf[state].length === 1,
    );
  }

  /** True where only a handful of calls can fit, which the server finds by their name. */
  get isOfOneId(): boolean {
    return this.pattern.id !== undefined;
  }

  fits({ state, call, atMs }: PlacedCall): boolean {
    const { sinceMs = 0, untilMs = Number.POSITIVE_INFINITY } = this;
    return (
      this.states.includes(state) &&
      call.callId.startsWith(this.prefix) &&
      atMs >= sinceMs &&
      atMs < untilMs
    );
  }
}

/** The durable method with a name, as the .proto writes it or as the client does. Throws InvalidArgument. */
export function durableMethod(service: ServiceBinding, name: string): MethodBinding {
  const all = durableMethods(service);
  const method = all.find(({ desc }) => desc.name === name || desc.localName === name);
  if (!method) {
    const names = all.map(({ desc }) => desc.name).join(", ") || "none";
    throw invalid(`${service.desc.typeName} has no durable method "${name}": it has ${names}`);
  }
  return method;
}

/**
 * The name of a method in the subjects of dead letters; that of one which the schema lacks is taken
 * as it is. Throws InvalidArgument for what is no name.
 */
export function letterMethod(service: ServiceBinding, name: string): string {
  const isStray = /^\w+$/.test(name) && !service.methods.has(name);
  return isStray ? name : durableMethod(service, name).desc.name;
}

function tokensOf(callId: string): CallPattern {
  const [, session, id] = nameCall("_", callId).suffix.split(".");
  return { session, id };
}

/** An id that a client made begins with its session, a token of its own. */
function sessionOf(prefix: string): CallPattern {
  const dot = prefix.indexOf(".");
  const session = dot < 0 ? prefix : prefix.slice(0, dot);
  if (session) {
    checkCallId(session);
  }
  return dot < 0 ? {} : { session };
}

function timeOf(what: string, time: Date | undefined): number | undefined {
  const ms = time === undefined ? undefined : Number(time);
  if (Number.isNaN(ms)) {
    throw invalid(`${what} is no time`);
  }
  return ms;
}

function invalid(text: string): ConnectError {
  return new ConnectError(text, Code.InvalidArgument);
}
