import type { JsonObject } from "@bufbuild/protobuf";
import type { ConnectError } from "@connectrpc/connect";
import type { PlacedCall } from "../ledger/call-places.js";
import type { CallStateName } from "../ledger/status-fold.js";
import { toDate } from "../message/header.js";
import { errorJson, timesJson } from "./json.js";

/** A durable call as a list has it: without request, response and attempts. */
export class ListedCall {
  /** @internal */
  constructor(private readonly placed: PlacedCall) {}

  /** Name of the method, as the .proto writes it. */
  get method(): string {
    return this.placed.method;
  }

  /** `_` when its caller named none. */
  get owner(): string {
    return this.placed.call.owner;
  }

  get callId(): string {
    return this.placed.call.callId;
  }

  /** A call whose first attempt began less than a quarter of a second ago may still be queued. */
  get state(): CallStateName {
    return this.placed.state;
  }

  /**
   * Its place in lists: when it ended, or, of a call that has not ended, when its request was
   * stored in its queue (of a scheduled call: when it was submitted).
   */
  get at(): Date {
    return new Date(this.placed.atMs);
  }

  /** When the server accepted it; unknown for some that were canceled. */
  get acceptedAt(): Date | undefined {
    return dateOf(this.placed.acceptedAtMs);
  }

  get endedAt(): Date | undefined {
    return dateOf(this.placed.endedAtMs);
  }

  /** Of a scheduled call: when it starts at the earliest. */
  get startsAt(): Date | undefined {
    return dateOf(this.placed.startsAtMs);
  }

  /** The highest number of an attempt that its log names; 0 when no attempt is known. */
  get attempts(): number {
    return this.placed.attempts;
  }

  /** Why it did not succeed, or why its last attempt failed; without details. */
  get error(): ConnectError | undefined {
    return this.placed.error;
  }

  /** All of it, for a program to read; times in ISO 8601. */
  toJson(): JsonObject {
    const { method, owner, callId, state, at, attempts, error } = this;
    return {
      method,
      owner,
      callId,
      state,
      at: at.toISOString(),
      ...timesJson({ acceptedAt: this.acceptedAt, endedAt: this.endedAt, startsAt: this.startsAt }),
      attempts,
      ...(error && { error: errorJson(error) }),
    };
  }
}

/** A page of a list of calls. */
export interface CallPage {
  /**
   * The newest first. A page may have fewer calls than were asked for, and none, and others may
   * follow: the server has no index of states and of beginnings of ids, so that a page ends after
   * it has looked at 20,000 entries of logs, or for 0.5 s.
   */
  readonly calls: readonly ListedCall[];
  /** For the next page; undefined when this is the last one. */
  readonly nextPageToken?: string | undefined;
  /** All calls whose `at` is later than this were looked at; undefined when all were. */
  readonly lookedBackTo?: Date | undefined;
  /** Requests and entries of logs that were read for it. */
  readonly looked: number;
  /**
   * With `contains`: how many of them could not be looked into, as they are too large for a message
   * or not of this schema.
   */
  readonly unread: number;
}

function dateOf(ms: number | undefined): Date | undefined {
  return ms === undefined || Number.isNaN(ms) ? undefined : toDate(ms);
}
