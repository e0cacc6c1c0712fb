import { Code, ConnectError } from "@connectrpc/connect";
import type { Msg } from "@nats-io/nats-core";
import { Header, quote, wholeNumber } from "../message/header.js";
import { defectOf } from "../message/readable.js";
import type { MethodBinding } from "../schema/binding.js";
import type { CallName } from "../schema/call-id.js";

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
  /^(?:(attempt) (\d{1,15}) (\d{1,15}) (\d{1,15})|(end) (\d{1,15}) (succeeded|failed|cancelled|expired)|(message|retry|release) (\d{1,15}))$/;

/**
 * Reads an entry. Throws DataLoss for what nobody wrote who keeps to the protocol: a call
 * whose log cannot be read has no state. See {@link isMalformed}.
 */
export function parseEntry(message: Msg, sequence = sequenceOf(message)): Entry {
  const defect = defectOf(message);
  const text = message.headers?.get(Header.entry) ?? "";
  const match = defect || !sequence ? undefined : entryPattern.exec(text);
  if (!match) {
    const why = defect ?? (sequence ? `${Header.entry} is ${quote(text)}` : "it has no sequence");
    throw malformed(message, sequence, why);
  }
  return {
    kind: (match[1] ?? match[5] ?? match[8]) as EntryKind,
    attempt: Number(match[2] ?? match[6] ?? match[9]),
    claim: match[3] ? { request: Number(match[3]), delivery: Number(match[4]) } : undefined,
    outcome: match[7] as Outcome | undefined,
    sequence: sequence as number,
    message,
  };
}

const malformedLogs = new WeakSet<ConnectError>();

/** True for the error of a call log that cannot be read. */
export function isMalformed(error: unknown): boolean {
  return error instanceof ConnectError && malformedLogs.has(error);
}

function malformed(message: Msg, sequence: number | undefined, why: string): ConnectError {
  // A message that was asked for comes to an inbox.
  const subject = message.headers?.last(Header.subject) || message.subject;
  const entry = sequence ? `entry ${sequence}` : "an entry";
  const error = new ConnectError(
    `${entry} of the call log ${subject} cannot be read: ${why}`,
    Code.DataLoss,
  );
  malformedLogs.add(error);
  return error;
}

/** Where the server says that a message is stored; whoever stored it may have said so before. */
export function sequenceOf({ headers }: Msg): number | undefined {
  return wholeNumber(headers?.last(Header.sequence));
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
