import { Code, ConnectError } from "@connectrpc/connect";
import type { Msg } from "@nats-io/nats-core";
import { getLast, publishFenced } from "../link/jetstream.js";
import type { Link } from "../link/link.js";
import type { CallOutcome, ObservedMethod } from "../link/observer.js";
import { withStreams } from "../link/provision.js";
import type { StoredMessage } from "../link/stored-message.js";
import { readStream, type StreamRange } from "../link/stream-reader.js";
import {
  Header,
  HeaderBlock,
  quote,
  readAccepted,
  readDigest,
  wholeNumber,
} from "../message/header.js";
import { defectOf } from "../message/readable.js";
import type { MethodBinding, ServiceBinding } from "../schema/binding.js";
import type { CallName } from "../schema/call-id.js";
import { entrySubjectOf } from "../schema/call-subjects.js";

/**
 * The kinds of entries of a call log:
 * - `attempt`: an attempt runs the call, or is about to store objects; older attempts are
 *   stale from here on.
 * - `message`: a message of a streamed response.
 * - `retry`: an attempt failed, and another one follows.
 * - `release`: a worker that stops gave the call back; this counts as no attempt.
 * - `end`: the one end of the call: its result or its error.
 */
export type EntryKind = "attempt" | "message" | "retry" | "release" | "end";

/** How a call ended. */
export type Outcome = CallOutcome;

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

/** True when both are the same. */
export function isSame(claim: Claim | undefined, other: Claim): boolean {
  return claim?.request === other.request && claim.delivery === other.delivery;
}

/** Objects that an attempt, or the submission of a request, has stored. */
export interface AttemptObjects {
  /** The part that their names have in common. */
  readonly base: string;
  readonly count: number;
}

/** An entry as it is stored. */
export class Entry {
  constructor(
    readonly kind: EntryKind,
    /** Number of the attempt that wrote it, from 1. */
    readonly attempt: number,
    /** Of an `attempt`: what it runs. */
    readonly claim: Claim | undefined,
    /** Of an `end`: how the call ended. */
    readonly outcome: Outcome | undefined,
    /** Where it is stored in the log stream. */
    readonly sequence: number,
    readonly message: Msg,
    /**
     * When it was stored, by the server's clock, in ms since 1970; 0 for one that was heard
     * live.
     */
    readonly storedAtMs: number,
  ) {}

  /** When the call was accepted, in ms since 1970, where the entry says so. */
  get acceptedAtMs(): number | undefined {
    return readAccepted(this.message.headers);
  }

  /** Tells the request of the call from another one, where the entry says so. */
  get digest(): string | undefined {
    return readDigest(this.message.headers);
  }

  /** Of a `retry`: how long the next attempt waits, in ms. */
  get delayMs(): number {
    return wholeNumber(this.message.headers?.get(Header.delay)) ?? 0;
  }

  /** The objects that its attempt had stored; undefined when there were none. */
  get objects(): AttemptObjects | undefined {
    const [base, count] = this.message.headers?.get(Header.objects).split(" ") ?? [];
    return base ? { base, count: Number(count) } : undefined;
  }

  /** The line that its attempt left for the worker that makes the next one. */
  get note(): string | undefined {
    return this.message.headers?.get(Header.note) || undefined;
  }

  /** The worker that wrote it, where it says so. */
  get worker(): string | undefined {
    return this.message.headers?.get(Header.worker) || undefined;
  }

  /** True when an object holds the message. */
  get isObject(): boolean {
    return this.message.headers?.has(Header.payload) ?? false;
  }

  /** Of one that was heard live: the sequence of the entry before it. */
  get previous(): number | undefined {
    return wholeNumber(this.message.headers?.last(Header.lastSequence));
  }
}

/** Value of the {@link Header.entry} header; an `attempt` has a claim, an `end` its outcome. */
export function formatEntry(kind: EntryKind, attempt: number, detail?: Claim | Outcome): string {
  const text = typeof detail === "object" ? `${detail.request} ${detail.delivery}` : detail;
  return text === undefined ? `${kind} ${attempt}` : `${kind} ${attempt} ${text}`;
}

const entryPattern =
  /^(?:(attempt) (\d{1,15}) (\d{1,15}) (\d{1,15})|(end) (\d{1,15}) (succeeded|failed|cancelled|expired)|(message|retry|release) (\d{1,15}))$/;

/**
 * Reads an entry; without `sequence`, one that was heard live. Throws DataLoss for a message that does not keep to
 * the protocol: a call whose log cannot be read has no state. See {@link isMalformed}.
 */
export function parseEntry(
  message: Msg,
  // A writer may have added such a header too: the server's is the last.
  sequence = wholeNumber(message.headers?.last(Header.sequence)),
  storedAtMs = 0,
): Entry {
  const defect = defectOf(message);
  const text = message.headers?.get(Header.entry) ?? "";
  const match = defect || !sequence ? undefined : entryPattern.exec(text);
  if (!match || !sequence) {
    const why = defect ?? (sequence ? `${Header.entry} is ${quote(text)}` : "it has no sequence");
    throw malformed(message, sequence, why);
  }
  return new Entry(
    (match[1] ?? match[5] ?? match[8]) as EntryKind,
    Number(match[2] ?? match[6] ?? match[9]),
    match[3] ? { request: Number(match[3]), delivery: Number(match[4]) } : undefined,
    match[7] as Outcome | undefined,
    sequence,
    message,
    storedAtMs,
  );
}

/** Reads an entry that was read from its stream. Errors: those of {@link parseEntry}. */
function storedEntry({ message, sequence, storedAtMs }: StoredMessage): Entry {
  return parseEntry(message, sequence, storedAtMs);
}

const malformedLogs = new WeakSet<ConnectError>();

/** True for the error of a call log that cannot be read. */
export function isMalformed(error: unknown): error is ConnectError {
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

/** The method whose logs are meant, or the rest of one that no schema has any more. */
export type LoggedMethod = Pick<MethodBinding, "logSubject" | "service">;

/** The last entry of a call's log. Errors: those of getLast() and {@link parseEntry}. */
export async function lastEntry(
  link: Link,
  method: LoggedMethod,
  call: CallName,
): Promise<Entry | undefined> {
  const last = await getLast(link, method.service.logStream, entrySubjectOf(method, call));
  return last && storedEntry(last);
}

/**
 * The last entry of a log that is to have its end, whatever it holds: of an entry that cannot
 * be read only its place is known.
 */
export async function lastOfAny(
  link: Link,
  method: LoggedMethod,
  call: CallName,
): Promise<Entry | LogPlace> {
  const last = await getLast(link, method.service.logStream, entrySubjectOf(method, call));
  try {
    return last ? storedEntry(last) : emptyLog;
  } catch {
    return { sequence: last?.sequence ?? 0, attempt: 0 };
  }
}

/** Where a log ends, and the attempt that wrote its last entry. */
export type LogPlace = Pick<Entry, "sequence" | "attempt">;

const emptyLog: LogPlace = { sequence: 0, attempt: 0 };

/** Entries asked for at once: a bound on memory, as each may have max_payload bytes. */
const batchSize = 64;
const headersBatchSize = 1024;

/** Reads what a call log holds now, in order. Errors: those of {@link parseEntry}. */
export async function* readLog(
  link: Link,
  service: ServiceBinding,
  range: Pick<StreamRange, "subject" | "from" | "headersOnly">,
): AsyncGenerator<Entry> {
  const batch = range.headersOnly ? headersBatchSize : batchSize;
  for await (const stored of readStream(link, service.logStream, { ...range, batch })) {
    yield storedEntry(stored);
  }
}

/** An entry that is to be stored. */
export interface NewEntry {
  readonly kind: EntryKind;
  /** Of an `end`. */
  readonly outcome?: Outcome;
  readonly payload: Uint8Array;
  /** Adds to the entry's headers. */
  readonly headers?: (block: HeaderBlock) => HeaderBlock;
}

/** The end of a call that is to be stored. */
export type NewEnd = NewEntry & { readonly outcome: Outcome };

/**
 * Appends entries to a log after the entry with the expected sequence; 0 stands for an empty
 * log. Returns the sequence of the last one. Throws SequenceConflict when another writer was
 * faster, and what publishStored() throws.
 */
export function appendEntries(
  link: Link,
  subject: string,
  expected: number,
  { attempt, claim }: { readonly attempt: number; readonly claim?: Claim },
  entries: readonly NewEntry[],
  note?: string,
  worker?: string,
): Promise<number> {
  const messages = entries.map(({ kind, outcome, payload, headers }) => {
    const detail = kind === "attempt" ? claim : outcome;
    const block = new HeaderBlock().add(Header.entry, formatEntry(kind, attempt, detail));
    if (note) {
      block.add(Header.note, note);
    }
    if (worker) {
      block.add(Header.worker, worker);
    }
    return { payload, headers: headers ? headers(block) : block };
  });
  return publishFenced(link, subject, expected, messages);
}

/** Adds the objects of a request or of an attempt, where there are any. */
export function addObjects(block: HeaderBlock, objects: AttemptObjects | undefined): HeaderBlock {
  return objects ? block.add(Header.objects, `${objects.base} ${objects.count}`) : block;
}

/** The part of a request that entries keep: the log outlives the request. */
export interface Origin {
  readonly digest: string | undefined;
  readonly acceptedAtMs: number;
}

/** Adds the part of the request that an `attempt` or an `end` keeps. */
export function addOrigin(block: HeaderBlock, { digest, acceptedAtMs }: Origin): HeaderBlock {
  if (digest) {
    block.add(Header.digest, digest);
  }
  return block.add(Header.accepted, acceptedAtMs);
}

/**
 * Appends the end of a call that no attempt makes. Throws SequenceConflict when the log has a
 * later entry than `last`.
 */
export async function appendEnd(
  link: Link,
  method: LoggedMethod,
  call: CallName,
  last: LogPlace = emptyLog,
  end: NewEntry,
): Promise<void> {
  const subject = entrySubjectOf(method, call);
  await withStreams(link, method.service, () =>
    appendEntries(link, subject, last.sequence, { attempt: last.attempt }, [end]),
  );
}

/**
 * Tells an observer of an end that was stored since `beganAt`, once it is known how the clock of
 * the server differs. Never throws.
 */
export async function tellEnd(
  link: Link,
  method: LoggedMethod & ObservedMethod,
  call: CallName,
  outcome: Outcome,
  acceptedAtMs: number | undefined,
  beganAt: number,
): Promise<void> {
  const { clock, observer } = link;
  if (observer?.ended) {
    await clock.refresh(
      beganAt,
      async () => (await lastEntry(link, method, call))?.storedAtMs ?? 0,
    );
    const ownMs = acceptedAtMs && clock.toOwn(acceptedAtMs);
    link.guard(() => observer.ended?.(method, outcome, ownMs));
  }
}

/**
 * The state of a call, folded from the entries of its log in their order.
 *
 * Every entry is stored only if its writer knew the last one, so an attempt that
 * lost its claim cannot write, and all that is stored counts.
 */
export class CallState {
  /** Latest attempt that the log names; 0 when it is empty. A short first one writes no `attempt`. */
  attempt = 0;
  /** Latest claim that was announced, and when it was stored, in ms since 1970. */
  claim: Claim | undefined;
  claimedAtMs = 0;
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
  /** The line that the latest attempt left. */
  note: string | undefined;

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
    this.note = entry.note ?? this.note;
    if (entry.claim) {
      this.claim = entry.claim;
      this.claimedAtMs = entry.storedAtMs;
    }
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
