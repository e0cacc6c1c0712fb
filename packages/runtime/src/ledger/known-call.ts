import type { Progress } from "../gen/jetrpc/v1/call_pb.js";
import type { Link } from "../link/link.js";
import { countWorkers } from "../link/workers.js";
import type { MethodBinding } from "../schema/binding.js";
import type { CallName } from "../schema/call-id.js";
import { entrySubjectOf } from "../schema/call-subjects.js";
import type { FoundCall } from "./found-call.js";
import { readLog } from "./log.js";
import { lastProgress, parseProgress } from "./progress.js";
import { StatusFold, stateAfter } from "./status-fold.js";

/** What is known of a call besides where it lies. */
export interface KnownCall {
  readonly fold: StatusFold;
  readonly progress: Progress | undefined;
  /** Of a call that is due and that no worker has: how many serve its method, where that is known. */
  readonly workers: number | undefined;
}

/** Reads log, progress and workers of a call. Errors: Unavailable; DataLoss for what cannot be read. */
export async function readKnown(
  link: Link,
  method: MethodBinding,
  call: CallName,
  found: FoundCall | undefined,
): Promise<KnownCall> {
  const { service } = method;
  const fold = new StatusFold();
  const range = { subject: entrySubjectOf(method, call), from: 0, headersOnly: true };
  // One without a log waits as well.
  const state = found?.last ? stateAfter(found.last) : "queued";
  const isWaiting = found && !found.isScheduled && ["queued", "retrying"].includes(state);
  const [progress, workers] = await Promise.all([
    lastProgress(link, method, call),
    // Credentials that may not ask learn less.
    isWaiting ? countWorkers(link, service).catch(() => undefined) : undefined,
    found?.last && fold.read(readLog(link, service, range)),
  ]);
  return {
    fold,
    progress: progress && parseProgress(progress),
    workers: workers && (workers.get(method.desc.name) ?? 0),
  };
}
