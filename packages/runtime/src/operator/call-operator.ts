import type { BulkAct, BulkFilter, BulkOptions, BulkProgress } from "./bulk.js";
import type { CallCounts, CountOptions } from "./call-counts.js";
import type { CallFilter, PageOptions } from "./call-filter.js";
import type { CallReference, CallStory } from "./call-story.js";
import type { CallPage, ListedCall } from "./listed-call.js";

/**
 * Finds durable calls, tells their stories, and acts on many. To look needs an operator's or
 * an observer's permissions, the latter with `mayRead`; to act needs an operator's. Credentials
 * that may not get PermissionDenied, which names the role that may.
 */
export interface CallOperator {
  /**
   * A page of the calls that fit a filter, the newest first. Calls that are accepted or end
   * between two pages are not in the later one; a call that ends between them may be left out,
   * none is listed twice. Throws InvalidArgument for an impossible filter, and for a token that
   * is not of this filter.
   */
  listCalls(filter?: CallFilter, page?: PageOptions): Promise<CallPage>;
  /** The same without pages: as many calls as are taken. */
  calls(filter?: CallFilter): AsyncIterable<ListedCall>;
  /** How many calls each durable method has in which state, and what happened lately. */
  countCalls(options?: CountOptions): Promise<CallCounts[]>;
  /** The whole story of a call. Throws NotFound for one that the server does not know. */
  showCall(call: CallReference): Promise<CallStory>;
  /**
   * Acts on all calls that fit a filter, and that were there when it began. Throws
   * InvalidArgument for an impossible filter or token, PermissionDenied, Unavailable when the
   * server does not answer for 30 s; what fails for one call alone is in `failures`.
   */
  actOnCalls(act: BulkAct, filter: BulkFilter, options?: BulkOptions): Promise<BulkProgress>;
}
