import { Code, ConnectError } from "@connectrpc/connect";
import type { PlacedCall } from "../ledger/call-places.js";
import type { Link } from "../link/link.js";
import { isTransient } from "../link/until.js";
import type { ServiceBinding } from "../schema/binding.js";
import type { CallFilter, Selection } from "./call-filter.js";
import { beginList, readOneId, readPage, readToken, writeToken } from "./list-calls.js";

/**
 * An act on many calls.
 *
 * - `cancel`: ends calls that have not ended. States: scheduled, queued, running, retrying.
 * - `replay`: makes calls queue anew that failed: see {@link DeadLetter.replay}.
 * - `discard`: removes dead letters: see {@link DeadLetter.discard}.
 */
export type BulkAct = "cancel" | "replay" | "discard";

/** Options of `actOnCalls()`. */
export interface BulkOptions {
  /** Only counts what would be acted upon. Default: false. */
  dryRun?: boolean | undefined;
  /**
   * Goes on with an act that was cut short: `resumeToken` of its last progress. What came to be
   * after that act began, such as the dead letter of a call that was replayed and failed
   * again, is left out.
   */
  resumeToken?: string | undefined;
  /** Told after each step of at most 64 calls. */
  onProgress?: ((progress: BulkProgress) => void) | undefined;
  /** Ends the act after the step that is being made. */
  signal?: AbortSignal | undefined;
}

/** How far an act on many calls is. */
export interface BulkProgress {
  /** Calls that fit the filter so far. */
  readonly matched: number;
  /** Calls that were acted upon; of a dry run, 0. */
  readonly done: number;
  /** Calls that had changed meanwhile, so that there was nothing to do. */
  readonly skipped: number;
  readonly failed: number;
  /** The first 100 that failed. Others are gone on with. */
  readonly failures: readonly BulkFailure[];
  /** Goes on after this step, also in another process. */
  readonly resumeToken: string;
  /** False when `signal` ended it. */
  readonly isComplete: boolean;
}

/** A call on which an act failed. */
export interface BulkFailure {
  readonly method: string;
  readonly owner: string;
  readonly callId: string;
  readonly error: ConnectError;
}

/** Filter of an act on many calls; `states` has no use for `replay` and `discard`. */
export type BulkFilter = CallFilter;

/** Calls that are acted upon in one step, and of these at once. */
const stepSize = 64;
const atOnce = 16;

/** Failures that are remembered. */
const maxFailures = 100;

/** Does something to each call that fits, and tells whether there was something to do. */
export async function actOnAll(
  link: Link,
  service: ServiceBinding,
  selection: Selection,
  act: (call: PlacedCall) => Promise<boolean>,
  { dryRun = false, resumeToken, onProgress, signal }: BulkOptions,
): Promise<BulkProgress> {
  let cursors = resumeToken
    ? readToken(selection, resumeToken)
    : await beginList(link, service, selection);
  const counts = { matched: 0, done: 0, skipped: 0, failed: 0 };
  const failures: BulkFailure[] = [];
  const tell = (isComplete: boolean): BulkProgress => {
    const token = writeToken(selection, cursors);
    const progress = { ...counts, failures: [...failures], resumeToken: token, isComplete };
    onProgress?.(progress);
    return progress;
  };
  // With a token before anything is done: whoever is killed in the first step has it.
  for (let progress = tell(false); ; progress = tell(false)) {
    if (signal?.aborted) {
      return progress;
    }
    const page = selection.isOfOneId
      ? await readOneId(link, service, selection)
      : await readPage(link, service, selection, cursors, stepSize);
    counts.matched += page.calls.length;
    const left = dryRun ? [] : [...page.calls];
    const work = async () => {
      for (let call = left.shift(); call; call = left.shift()) {
        try {
          (await act(call)) ? counts.done++ : counts.skipped++;
        } catch (error) {
          const failure = ConnectError.from(error);
          if (isTransient(failure) || failure.code === Code.PermissionDenied) {
            throw failure;
          }
          counts.failed++;
          const { method, call: name } = call;
          if (failures.length < maxFailures) {
            failures.push({ method, owner: name.owner, callId: name.callId, error: failure });
          }
        }
      }
    };
    await Promise.all(Array.from({ length: atOnce }, work));
    if (!page.next) {
      return tell(true);
    }
    cursors = page.next;
  }
}
