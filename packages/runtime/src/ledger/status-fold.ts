import type { ConnectError } from "@connectrpc/connect";
import { toDate } from "../message/header.js";
import { isStatus, statusOfHeaders } from "../message/status.js";
import { CallState, type Entry } from "./log.js";

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
  /**
   * The worker that made it, by the id that `listServices()` has; absent where the log does not
   * tell, as of a first attempt that succeeds at once.
   */
  readonly worker?: string;
  /** When it was known to run. */
  readonly startedAt?: Date;
  /** When it failed or was given back. */
  readonly endedAt?: Date;
  /** Its error, without details. */
  readonly error?: ConnectError;
  /** When the next attempt follows at the earliest. */
  readonly retryAt?: Date;
}

/** The state of a call by the last entry of its log. */
export function stateAfter({ kind, outcome }: Entry): CallStateName {
  switch (kind) {
    case "retry":
      return "retrying";
    case "release":
      return "queued";
    case "end":
      return outcome as CallStateName;
    default:
      return "running";
  }
}

/** How far a call is, and what its attempts did, folded from its log. */
export class StatusFold {
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
    const { kind, attempt, message, worker } = entry;
    const at = new Date(entry.storedAtMs);
    this.acceptedAt ??= entry.acceptedAtMs;
    const error = isStatus(message) ? statusOfHeaders(message) : undefined;
    this.state = stateAfter(entry);
    if (kind === "end") {
      this.endedAt = at;
      this.error = error;
    }
    if (attempt === 0 || (kind === "message" && !worker)) {
      return;
    }
    const before = kind === "attempt" ? undefined : this.attempts.get(attempt);
    this.attempts.set(attempt, {
      attempt,
      ...before,
      ...(worker && { worker }),
      ...(kind === "attempt" && { startedAt: at }),
      ...(kind !== "attempt" && kind !== "message" && { endedAt: at, ...(error && { error }) }),
      ...(kind === "retry" && { retryAt: toDate(at.getTime() + entry.delayMs) }),
    });
  }
}
