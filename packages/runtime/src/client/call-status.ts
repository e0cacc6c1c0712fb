import type { ConnectError } from "@connectrpc/connect";
import type { Progress } from "../gen/jetrpc/v1/call_pb.js";
import { endCall } from "../ledger/ending.js";
import { deadlineOf, type FoundCall, findKnownCall, notFound } from "../ledger/found-call.js";
import { CallState, type Entry, readLog } from "../ledger/log.js";
import { lastProgress, parseProgress } from "../ledger/progress.js";
import type { Link } from "../link/link.js";
import { countWorkers } from "../link/workers.js";
import { toDate } from "../message/header.js";
import { isStatus, statusOfHeaders } from "../message/status.js";
import type { MethodBinding } from "../schema/binding.js";
import type { CallName } from "../schema/call-id.js";
import { entrySubjectOf } from "../schema/call-subjects.js";

/**
 * The states of a durable call; docs/durable-calls.md has what leads from one to
 * another. The first three become `expired` or `cancelled` without ever running.
 */
export type CallStateName =
  | "scheduled"
  | "queued"
  | "running"
  | "retrying"
  | "succeeded"
  | "failed"
  | "cancelled"
  | "expired";

/** An attempt that its worker announced, or that failed. */
export interface AttemptStatus {
  /** Its number, from 1. */
  readonly attempt: number;
  /** When it was known to run. */
  readonly startedAt?: Date;
  /** When it failed or was given back. */
  readonly endedAt?: Date;
  /** Its error, without details. */
  readonly error?: ConnectError;
  /** When the next attempt follows at the earliest. */
  readonly retryAt?: Date;
}

/** How far a durable call is. */
export interface CallStatus {
  /**
   * A call whose first attempt began less than a quarter of a second ago may
   * still be shown as queued.
   */
  readonly state: CallStateName;
  /** When the server accepted it; unknown for some that were canceled. */
  readonly acceptedAt?: Date;
  readonly endedAt?: Date;
  /** Attempts so far. A first one that succeeds at once leaves no trace but the end. */
  readonly attempts: readonly AttemptStatus[];
  /** Messages of a streamed response that are stored. */
  readonly messages: number;
  /** The last report of the handler. */
  readonly progress?: Progress;
  /** The error of a call that did not succeed, without details. */
  readonly error?: ConnectError;
  /**
   * Of a call that waits for a worker, `queued` or `retrying`: how many running workers
   * serve its method. Absent when that could not be found out.
   */
  readonly workers?: number;
}

/**
 * Reads how far a call is; ends it first when its time is over. Errors: NotFound;
 * Unavailable; DataLoss when its log or its progress holds what cannot be read.
 */
export async function readStatus(
  link: Link,
  method: MethodBinding,
  call: CallName,
): Promise<CallStatus> {
  const found = await findInTime(link, method, call);
  const fold = new StatusFold();
  const [progress, workers] = await Promise.all([
    lastProgress(link, method, call),
    isWaiting(found) ? workersOf(link, method) : undefined,
    found.last &&
      fold.read(
        readLog(link, method.service, {
          subject: entrySubjectOf(method, call),
          from: 0,
          headersOnly: true,
        }),
      ),
  ]);
  const { request, isScheduled } = found;
  const accepted = fold.acceptedAt ?? request?.acceptedAtMs;
  return {
    state: fold.state ?? (isScheduled ? "scheduled" : "queued"),
    ...(accepted !== undefined && { acceptedAt: new Date(accepted) }),
    ...(fold.endedAt && { endedAt: fold.endedAt }),
    attempts: [...fold.attempts.values()],
    messages: fold.messages,
    ...(progress && { progress: parseProgress(progress) }),
    ...(fold.error && { error: fold.error }),
    ...(workers !== undefined && { workers }),
  };
}

/** True for a call that is due, and that no worker has. */
function isWaiting({ last, isScheduled }: FoundCall): boolean {
  return !isScheduled && (!last || last.kind === "retry" || last.kind === "release");
}

async function workersOf(link: Link, method: MethodBinding): Promise<number | undefined> {
  try {
    return (await countWorkers(link, method.service)).get(method.desc.name) ?? 0;
  } catch {
    // Credentials that may not ask learn less.
    return undefined;
  }
}

async function findInTime(link: Link, method: MethodBinding, call: CallName): Promise<FoundCall> {
  for (;;) {
    const found = await findKnownCall(link, method, call);
    if (!found) {
      throw notFound(method, call);
    }
    const deadline = deadlineOf(found);
    if (found.last?.kind === "end" || deadline === undefined || Date.now() < deadline) {
      return found;
    }
    await endCall(link, method, call, "expired");
  }
}

class StatusFold {
  state: CallStateName | undefined;
  acceptedAt: number | undefined;
  endedAt: Date | undefined;
  error: ConnectError | undefined;
  readonly attempts = new Map<number, AttemptStatus>();
  private readonly log = new CallState();

  get messages(): number {
    return this.log.messages;
  }

  async read(entries: AsyncIterable<Entry>): Promise<void> {
    for await (const entry of entries) {
      if (this.log.apply(entry)) {
        this.take(entry);
      }
    }
  }

  private take(entry: Entry): void {
    const { kind, attempt, message } = entry;
    const at = new Date(entry.storedAtMs);
    this.acceptedAt ??= entry.acceptedAtMs;
    const error = isStatus(message) ? statusOfHeaders(message) : undefined;
    const noted = this.attempts.get(attempt);
    switch (kind) {
      case "attempt":
        this.attempts.set(attempt, { attempt, startedAt: at });
        this.state = "running";
        break;
      case "message":
        this.state = "running";
        break;
      case "retry": {
        this.attempts.set(attempt, {
          attempt,
          ...noted,
          endedAt: at,
          ...(error && { error }),
          retryAt: toDate(at.getTime() + entry.delayMs),
        });
        this.state = "retrying";
        break;
      }
      case "release":
        this.attempts.set(attempt, { attempt, ...noted, endedAt: at });
        this.state = "queued";
        break;
      default:
        if (attempt > 0) {
          this.attempts.set(attempt, { attempt, ...noted, endedAt: at, ...(error && { error }) });
        }
        this.state = entry.outcome;
        this.endedAt = at;
        this.error = error;
    }
  }
}
