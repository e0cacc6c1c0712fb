import type { Msg, MsgHdrs } from "@nats-io/nats-core";
import type { MethodBinding } from "./binding.js";
import type { CallName } from "./call-id.js";
import { Header } from "./header.js";

/**
 * What an entry of a call log says:
 * - `attempt`: a worker claims the call; older attempts are stale from here on.
 * - `message`: a message of a streamed response.
 * - `retry`: an attempt failed, and another one follows.
 * - `release`: a worker that stops gave the call back; this counts as no attempt.
 * - `end`: the one end of the call: its result or its error.
 */
export type EntryKind = "attempt" | "message" | "retry" | "release" | "end";

/** How a call ended. */
export type Outcome = "succeeded" | "failed" | "cancelled" | "expired";

/** Which delivery of which request an attempt runs: no two attempts run the same. */
export interface Claim {
  /** Sequence of the request in its queue; one that is queued again has a higher one. */
  readonly request: number;
  readonly delivery: number;
}

/** True when a claim is the other one, or was made after it. */
export function isAsLate(claim: Claim, other: Claim): boolean {
  return claim.request === other.request
    ? claim.delivery >= other.delivery
    : claim.request > other.request;
}

/** True when both are the same: each is as late as the other. */
export function isSame(claim: Claim | undefined, other: Claim): boolean {
  return claim !== undefined && isAsLate(claim, other) && isAsLate(other, claim);
}

/** An entry as it is stored. */
export interface Entry {
  readonly kind: EntryKind;
  /** Number of the attempt that wrote it, from 1. */
  readonly attempt: number;
  /** Of an `attempt`: what it runs. */
  readonly claim: Claim | undefined;
  /** Of an `end`: how the call ended. */
  readonly outcome: Outcome | undefined;
  /** Where it is stored in the log stream. */
  readonly sequence: number;
  readonly message: Msg;
}

/** Subject of the entries of a call's log. */
export function entrySubject(method: Pick<MethodBinding, "logSubject">, call: CallName): string {
  return `${method.logSubject}.${call.suffix}.entry`;
}

/** Subject of the last progress that a call reported. */
export function progressSubject(method: MethodBinding, call: CallName): string {
  return `${method.progressSubject}.${call.suffix}.progress`;
}

/** Subject of everything that the log of a call accepts, as it happens. */
export function liveSubject(method: MethodBinding, call: CallName): string {
  return `${method.liveSubject}.${call.suffix}.*`;
}

/** Value of the {@link Header.entry} header; an `attempt` has a claim, an `end` its outcome. */
export function formatEntry(kind: EntryKind, attempt: number, detail?: Claim | Outcome): string {
  const text = typeof detail === "object" ? `${detail.request} ${detail.delivery}` : detail;
  return text === undefined ? `${kind} ${attempt}` : `${kind} ${attempt} ${text}`;
}

const entryPattern =
  /^(?:(attempt) (\d+) (\d+) (\d+)|(end) (\d+) (succeeded|failed|cancelled|expired)|(message|retry|release) (\d+))$/;

/** Reads an entry. Undefined for what nobody wrote who keeps to the protocol. */
export function parseEntry(
  message: Msg,
  sequence = sequenceOf(message.headers),
): Entry | undefined {
  const match = entryPattern.exec(message.headers?.get(Header.entry) ?? "");
  if (!match) {
    return undefined;
  }
  return {
    kind: (match[1] ?? match[5] ?? match[8]) as EntryKind,
    attempt: Number(match[2] ?? match[6] ?? match[9]),
    claim: match[3] ? { request: Number(match[3]), delivery: Number(match[4]) } : undefined,
    outcome: match[7] as Outcome | undefined,
    sequence,
    message,
  };
}

function sequenceOf(headers: MsgHdrs | undefined): number {
  return Number(headers?.get(Header.sequence) ?? 0);
}

/**
 * The state of a call, folded from the entries of its log in their order.
 *
 * Every entry is stored only if its writer knew the last one, so an attempt that
 * lost its claim cannot write, and all that is stored counts.
 */
export class CallState {
  /** Latest attempt that is known of; the first one is not announced. */
  attempt = 0;
  /** Latest claim that was announced. */
  claim: Claim | undefined;
  /** Kind of the last entry. */
  last: EntryKind | undefined;
  /** How many messages of the response are stored. */
  messages = 0;
  /** How often a worker gave the call back. */
  releases = 0;
  /** Sequence of the last entry; 0 when the log is empty. */
  sequence = 0;
  /** How the call ended; undefined while it has not. */
  outcome: Outcome | undefined;

  get hasEnded(): boolean {
    return this.outcome !== undefined;
  }

  /** Takes the next entry; false when it was taken before. */
  apply(entry: Entry): boolean {
    if (entry.sequence <= this.sequence) {
      return false;
    }
    this.sequence = entry.sequence;
    this.attempt = Math.max(this.attempt, entry.attempt);
    this.last = entry.kind;
    this.claim = entry.claim ?? this.claim;
    if (entry.kind === "message") {
      this.messages++;
    } else if (entry.kind === "release") {
      this.releases++;
    } else if (entry.kind === "end") {
      this.outcome = entry.outcome;
    }
    return true;
  }
}
