import { NoStream, SequenceConflict } from "../link/jetstream-error.js";
import type { Link } from "../link/link.js";
import { makeStreams } from "../link/provision.js";
import { isTransient, until } from "../link/until.js";
import type { MethodBinding } from "../schema/binding.js";
import type { CallName } from "../schema/call-id.js";
import { entrySubjectOf } from "../schema/call-subjects.js";
import {
  appendEntries,
  CallState,
  type Claim,
  type Entry,
  isSame,
  lastEntry,
  type NewEntry,
  type Outcome,
  readLog,
} from "./log.js";
import { LostClaim, LostEntries } from "./lost-claim.js";

/** Messages and bytes that may wait for being stored before the handler has to. */
const queueLimit = 512;
const queueLimitBytes = 8 * 1024 * 1024;

/**
 * From so many waiting messages on they are stored as one atomic batch. A batch
 * costs about as much as 15 single messages (docs/decisions/0002).
 */
const batchFrom = 24;
const batchLimit = 512;

/** True when the log before an entry tells nothing that a further attempt has to know. */
function tellsAll({ outcome, attempt, objects }: Entry): boolean {
  // The first attempt has no other's objects to remove, and names its own when it succeeds.
  return outcome === "succeeded" && attempt <= 1 && objects === undefined;
}

/**
 * Writes the log of a call for one attempt. Every append names the entry it
 * follows, so an attempt that lost its claim cannot write.
 */
export class LogWriter {
  private number = 1;
  private readonly subject: string;
  private readonly queue: NewEntry[] = [];
  private queuedBytes = 0;
  private storing: Promise<void> | undefined;
  private failure: unknown;
  /** Something of this attempt is stored, or about to be. */
  private hasWritten = false;
  private sequence = 0;
  private stored = 0;
  private released = 0;
  /** The line for the next attempt, asked for when an entry takes it along. */
  note: (() => string | undefined) | undefined;
  /** The line that the attempt before this one left. */
  lastNote: string | undefined;
  /** How many of the objects of each attempt the log names, by their base; undefined for none. */
  objects: Map<string, number> | undefined;

  constructor(
    private readonly link: Link,
    private readonly method: MethodBinding,
    private readonly call: CallName,
    readonly claim: Claim,
    private readonly worker?: string,
  ) {
    this.subject = entrySubjectOf(method, call);
  }

  /** Number of the attempt that writes. */
  get attempt(): number {
    return this.number;
  }

  /** Entries from now on are those of another attempt. */
  writeAs(attempt: number): void {
    this.number = attempt;
  }

  /** Earlier attempts that count for nothing: their workers gave the call back. */
  get releases(): number {
    return this.released;
  }

  /** Messages of the response that are stored. */
  get messages(): number {
    return this.stored;
  }

  /**
   * Reads the state of the call and goes on from there. A log that is empty, or whose last
   * entry is enough, costs one message: most calls that are handed out again have such a one,
   * and after a crash of the server these are all that were queued.
   */
  async readState(): Promise<CallState> {
    const state = new CallState();
    const last = await lastEntry(this.link, this.method, this.call);
    if (last && !tellsAll(last)) {
      await this.readAll(state);
    } else if (last) {
      state.apply(last);
    }
    this.sequence = state.sequence;
    this.stored = state.messages;
    this.released = state.releases;
    this.lastNote = state.note;
    return state;
  }

  private async readAll(state: CallState): Promise<void> {
    const range = { subject: this.subject, from: 0, headersOnly: true };
    for await (const entry of readLog(this.link, this.method.service, range)) {
      state.apply(entry);
      const { objects } = entry;
      if (objects) {
        this.objects ??= new Map();
        this.objects.set(objects.base, objects.count);
      }
    }
  }

  /**
   * Takes a message of the response. Returns a promise when the handler must
   * wait for room. Throws {@link LostClaim}, or why the log cannot be written.
   */
  push(entry: NewEntry): Promise<void> | undefined {
    if (this.failure) {
      throw this.failure;
    }
    this.hasWritten = true;
    this.queue.push(entry);
    this.queuedBytes += entry.payload.length;
    this.storing ??= this.storeQueue();
    return this.queue.length >= queueLimit || this.queuedBytes >= queueLimitBytes
      ? this.storing
      : undefined;
  }

  /** Waits until all that was pushed is stored, then stores one more entry. */
  append(entry: NewEntry): Promise<void> {
    this.hasWritten = true;
    return this.storing || this.failure ? this.appendLater(entry) : this.store([entry]);
  }

  private async appendLater(entry: NewEntry): Promise<void> {
    while (this.storing) {
      await this.storing;
    }
    if (this.failure) {
      throw this.failure;
    }
    await this.store([entry]);
  }

  /**
   * Tries to store the entry that makes the call this attempt's own, although the
   * attempt before it may still write. True when it directly follows what readState() has
   * read; otherwise the log tells whether it was stored.
   */
  async claimAfter(previous: number, entry: NewEntry): Promise<boolean> {
    try {
      for (let tries = 0; tries < 20; tries++) {
        if (await this.isAccepted(entry)) {
          return tries === 0;
        }
        const last = await lastEntry(this.link, this.method, this.call);
        if (last?.kind === "end" || last?.attempt !== previous) {
          return false;
        }
        // To read all of the log anew would take longer than the other one's next write.
        this.sequence = last.sequence;
      }
    } catch (error) {
      if (error instanceof NoStream) {
        await makeStreams(this.link, this.method.service);
      } else if (!isTransient(error)) {
        throw error;
      }
    }
    return false;
  }

  private async isAccepted(entry: NewEntry): Promise<boolean> {
    try {
      this.sequence = await this.publish([entry]);
      return true;
    } catch (error) {
      if (error instanceof SequenceConflict) {
        return false;
      }
      throw error;
    }
  }

  /** Stores that the attempt runs, unless something else of it is stored or is about to be. */
  announce(entry: NewEntry): void {
    if (this.sequence === 0 && !this.hasWritten) {
      this.hasWritten = true;
      this.storing = this.store([entry])
        .catch((error) => {
          this.failure = error;
        })
        .finally(() => {
          this.storing = undefined;
          if (this.queue.length > 0 && !this.failure) {
            this.storing = this.storeQueue();
          }
        });
    }
  }

  /** Stores an entry in a log that has lost entries, whatever of this attempt failed before. */
  recall(entry: NewEntry): Promise<void> {
    return this.store([entry]);
  }

  /** Looks whether the call is still this attempt's. */
  async findLostClaim(): Promise<LostClaim | undefined> {
    const last = await lastEntry(this.link, this.method, this.call);
    return last && lostClaimOf({ outcome: last.outcome, attempt: last.attempt }, this.attempt);
  }

  private async storeQueue(): Promise<void> {
    try {
      while (this.queue.length > 0) {
        await this.storeSome();
      }
    } catch (error) {
      this.failure = error;
    } finally {
      this.storing = undefined;
    }
  }

  private async storeSome(): Promise<void> {
    const entries: NewEntry[] = [];
    const most = this.queue.length >= batchFrom ? batchLimit : 1;
    let bytes = 0;
    for (const entry of this.queue) {
      if (entries.length === most || (entries.length > 0 && bytes > queueLimitBytes)) {
        break;
      }
      entries.push(entry);
      bytes += entry.payload.length;
    }
    await this.store(entries);
    this.queue.splice(0, entries.length);
    this.queuedBytes -= bytes;
  }

  /** Stores entries, however often it takes. */
  private store(entries: readonly NewEntry[]): Promise<void> {
    const isMessage = entries[0]?.kind === "message";
    const before = this.stored;
    let isInDoubt = false;
    const stored = (sequence: number) => {
      this.sequence = sequence;
      if (isMessage) {
        this.stored = before + entries.length;
      }
    };
    const failed = async (error: unknown) => {
      if (!(error instanceof SequenceConflict)) {
        // It may be stored although its acknowledgement was lost.
        isInDoubt = true;
      } else if (!isInDoubt) {
        // Sent for the first time: the entry in its place is another attempt's.
        await this.areStored([], before);
      }
      throw error;
    };
    const tryAgain = async () => {
      if (await this.areStored(entries, before)) {
        return;
      }
      // A batch is not atomic when the server is killed while it stores it.
      const rest = isMessage ? entries.slice(this.stored - before) : entries;
      await this.publish(rest).then(stored, failed);
    };
    return until(
      this.link,
      () => (isInDoubt ? tryAgain() : this.publish(entries).then(stored, failed)),
      { makeStream: () => makeStreams(this.link, this.method.service) },
    );
  }

  /**
   * Looks whether entries are there whose acknowledgement was lost: all of them, or some
   * of a batch. Throws {@link LostClaim} when something else is, {@link LostEntries} when
   * less is there than was.
   */
  private async areStored(entries: readonly NewEntry[], before: number): Promise<boolean> {
    const { sequence } = this;
    const state = await this.readState();
    const [entry] = entries;
    if (entry && entry.kind !== "message" && this.isOwn(state, entry)) {
      return true;
    }
    const lost = lostClaimOf(state, this.attempt);
    if (lost) {
      throw lost;
    }
    refuseLoss(state.sequence < sequence || this.stored < before);
    const found = this.stored - before;
    if (state.sequence > sequence && (found === 0 || found > entries.length)) {
      throw new LostClaim(undefined);
    }
    return found === entries.length;
  }

  private isOwn(state: CallState, entry: NewEntry): boolean {
    const { claim, attempt } = this;
    return (
      state.last === entry.kind &&
      state.attempt === attempt &&
      state.outcome === entry.outcome &&
      (entry.kind !== "attempt" || isSame(state.claim, claim))
    );
  }

  private publish(entries: readonly NewEntry[]): Promise<number> {
    const { sequence } = this;
    const kind = entries[0]?.kind;
    // The first entry of an attempt has it: its claim, or else the first one of the log.
    const isNoted = kind === "attempt" || (kind !== "end" && sequence === 0);
    const note = isNoted ? this.note?.() : undefined;
    // A call that succeeds at once stays as small as it was.
    const isTold = isNoted || kind === "retry" || entries[0]?.outcome === "failed";
    const worker = isTold ? this.worker : undefined;
    return appendEntries(this.link, this.subject, sequence, this, entries, note, worker);
  }
}

function lostClaimOf(
  { outcome, attempt }: { outcome: Outcome | undefined; attempt: number },
  own: number,
): LostClaim | undefined {
  return outcome !== undefined || attempt > own ? new LostClaim(outcome) : undefined;
}

function refuseLoss(isLoss: boolean): void {
  if (isLoss) {
    throw new LostEntries("the server has lost entries of the call log that it had confirmed");
  }
}
