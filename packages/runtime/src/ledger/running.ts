import { Code, ConnectError } from "@connectrpc/connect";
import type { Link } from "../link/link.js";
import { pause, until } from "../link/until.js";
import { Header, type HeaderBlock } from "../message/header.js";
import { addKind } from "../message/method-kind.js";
import {
  appendMetadata,
  decodeStatus,
  encodeStatus,
  endError,
  permanent,
} from "../message/status.js";
import { countObjects, releaseObjects, removeObjects } from "../objects/payload-store.js";
import type { MethodBinding } from "../schema/binding.js";
import type { CallName } from "../schema/call-id.js";
import { entrySubjectOf } from "../schema/call-subjects.js";
import { responseSpace } from "../schema/object-name.js";
import { buryCall, storeCause, storeDeadLetter } from "./dead-letters.js";
import type { DeliveryCounts } from "./delivery-counts.js";
import { entryReserve, statusEnd, tellWorkers } from "./ending.js";
import { findQueued } from "./found-call.js";
import {
  type AttemptObjects,
  addOrigin,
  type CallState,
  type Claim,
  isAsLate,
  isSame,
  type NewEntry,
  type Outcome,
  readLog,
} from "./log.js";
import { LogWriter, LostClaim } from "./log-writer.js";
import type { DeliveredRequest, Withdrawal } from "./stored-request.js";

/**
 * By how many deliveries a claim may be ahead of the one that is at hand: that many were
 * made, at most, while a process stood still. One that is further ahead is not believed.
 */
const mostAhead = 16;

const nothing = new Uint8Array(0);

/** A message of a response, or all of it. */
export interface ResponseEntry {
  /** Empty when an object holds it. */
  readonly payload: Uint8Array;
  /** Reference to the object that holds it. */
  readonly object?: string | undefined;
  /** The objects that the attempt has stored so far. */
  readonly objects?: AttemptObjects | undefined;
  readonly metadata?: HeaderBlock | undefined;
}

/**
 * A call that a worker runs: one delivery of its request, and the log that it writes. Each
 * write of the log throws {@link LostClaim} when the call is not this attempt's any more,
 * LostEntries when the server has lost what it had confirmed, and what publishStored() throws.
 */
export class RunningCall {
  private readonly writer: LogWriter;
  /** Earlier attempts that count for nothing: their workers gave the call back. */
  private releases = 0;
  /** The server may not know whether it handed out the request before. */
  private readonly isUnsure: boolean;
  /** Nor does an empty log tell whether it was begun. */
  private readonly isDoubtful: boolean;

  constructor(
    private readonly link: Link,
    private readonly method: MethodBinding,
    readonly call: CallName,
    readonly request: DeliveredRequest,
    private readonly counts: DeliveryCounts,
  ) {
    const { storedAtMs, sequence, delivery } = request;
    this.isDoubtful = storedAtMs <= counts.doubtfulUntil;
    this.isUnsure = this.isDoubtful || storedAtMs <= counts.unsureUntil;
    this.writer = new LogWriter(link, method, call, { request: sequence, delivery });
  }

  /** Number of the attempt, from 1. */
  get attempt(): number {
    return this.writer.attempt;
  }

  /** True while the schema allows a further attempt after this one. */
  get hasAttemptsLeft(): boolean {
    return this.attempt - this.releases < this.method.maxAttempts;
  }

  /** False for the first delivery of a new call: nobody else can have begun it. */
  get needsClaim(): boolean {
    return this.request.delivery > 1 || this.isUnsure || this.request.isReplay;
  }

  /**
   * Makes the call this attempt's own, and tells how many messages of its response are stored.
   *
   * Expects: the last entry of the log, as it was read.
   * Writes: `attempt`.
   * May be answered: 10071 or 10164, the attempt before it has written; then it looks again.
   *
   * Throws LostClaim when the call has ended or a later attempt runs, and Internal, permanently,
   * when its attempts are used up.
   */
  async claim(): Promise<number> {
    const { link, method, call, writer } = this;
    for (let isMade = false, retry = 0; ; retry++) {
      const state = await until(link, () => writer.readState());
      if (state.hasEnded) {
        throw new LostClaim(state.outcome);
      }
      if (state.claim && isAsLate(state.claim, writer.claim)) {
        if (isMade && isSame(state.claim, writer.claim)) {
          // A worker that was taken for lost, and is not, hears that it has lost its claim.
          tellWorkers(link, method, call);
          return writer.messages;
        }
        if (!(await this.isVoid(state.claim, state))) {
          // A later delivery was begun while this one lay in a process that stood still.
          throw new LostClaim(undefined);
        }
      }
      if (state.sequence === 0 && this.mayBeFirst) {
        return 0;
      }
      this.refuseFurther(state);
      // The first attempt leaves no entry when its worker is lost.
      writer.writeAs(Math.max(1, state.attempt) + 1);
      if (retry > 0) {
        await pause(retry - 1);
      }
      isMade = true;
      await writer.claimAfter(state.attempt, this.attemptEntry());
    }
  }

  /** Throws when the attempts of a call are used up by workers that died without a word. */
  private refuseFurther({ attempt, releases, sequence }: CallState): void {
    this.releases = releases;
    const made = Math.max(1, attempt);
    const spent = made - releases;
    // An attempt that only may have been made ends no call.
    const isCertain = sequence > 0 || this.isRepeated;
    if (spent >= this.method.maxAttempts && isCertain) {
      this.writer.writeAs(made);
      const text = `gave up after ${spent} attempts: the last worker was lost while it ran the call`;
      throw permanent(new ConnectError(text, Code.Internal));
    }
  }

  /**
   * True for a claim as late as this one that no attempt can have made: clients may write
   * to their logs, and a consumer that was made anew counts its deliveries from 1. To obey
   * it would be to drop the request each time it comes.
   */
  private async isVoid({ request, delivery }: Claim, { claimedAtMs }: CallState): Promise<boolean> {
    const { link, method, call, counts, writer } = this;
    const own = writer.claim;
    if (request === own.request) {
      return claimedAtMs <= counts.unsureUntil || delivery - own.delivery > mostAhead;
    }
    const queued = await until(link, () => findQueued(link, method, call));
    return Math.max(0, ...queued.map(({ sequence }) => sequence)) === own.request;
  }

  /** True when the request was handed out before. */
  private get isRepeated(): boolean {
    return this.request.delivery > 1 || this.request.isPutAgain;
  }

  /** True when no other attempt can have begun that has left no entry yet. */
  private get mayBeFirst(): boolean {
    return !this.isRepeated && !this.isDoubtful;
  }

  /** Looks whether the call is still this attempt's. */
  findLostClaim(): Promise<LostClaim | undefined> {
    return this.writer.findLostClaim();
  }

  /** Stores that the attempt runs, unless the log tells so. Not waited for. */
  announce(): void {
    this.writer.announce(this.attemptEntry());
  }

  /**
   * Stores what the names of the attempt's objects have in common, before the first of them is
   * stored: if this attempt is lost, the worker that makes the next one removes them.
   */
  announceObjects(base: string): Promise<void> {
    return this.writer.append(this.attemptEntry(`${base} 0`));
  }

  private attemptEntry(objects?: string): NewEntry {
    return {
      kind: "attempt",
      payload: nothing,
      headers: (block) => {
        if (objects) {
          block.add(Header.objects, objects);
        }
        return addOrigin(block, this.request);
      },
    };
  }

  /**
   * Takes a message of a streamed response. Returns a promise when the handler must wait for
   * room.
   */
  push(message: ResponseEntry): Promise<void> | undefined {
    return this.writer.push({
      kind: "message",
      payload: message.payload,
      headers: (block) => addResponse(block, message).append(message.metadata),
    });
  }

  /**
   * Ends the call with the response of a unary method, or with the trailer of a streamed one,
   * and only then removes it from the queue.
   */
  async succeed(response: ResponseEntry): Promise<void> {
    const { desc } = this.method;
    await this.writer.append({
      kind: "end",
      outcome: "succeeded",
      payload: response.payload,
      headers: (block) => {
        addOrigin(addResponse(block, response), this.request);
        return (desc.methodKind === "unary" ? block : addKind(block, desc)).append(
          response.metadata,
        );
      },
    });
    this.removeWithObjects();
  }

  /** Notes that the attempt failed, and gives the request back for another one. */
  async retry(error: ConnectError, delayMs: number): Promise<void> {
    const { headers, payload } = encodeStatus(error, {
      maxBytes: this.link.maxPayload - entryReserve,
    });
    await this.writer.append({
      kind: "retry",
      payload,
      headers: (block) => block.append(headers).add(Header.delay, delayMs),
    });
    this.request.giveBack(delayMs);
  }

  /** Gives the call back because the worker stops: that counts as no attempt. */
  async release(): Promise<void> {
    await this.writer.append({ kind: "release", payload: nothing });
    this.request.giveBack();
  }

  /**
   * Gives the call back before it was begun. The next delivery would count this one as an
   * attempt; where there are entries, these are what counts.
   */
  async giveBack(): Promise<void> {
    try {
      const { sequence } = await this.writer.readState();
      if (sequence === 0 && this.mayBeFirst) {
        await this.writer.append({ kind: "release", payload: nothing });
      }
    } catch {
      // Then this delivery counts as an attempt.
    }
    this.request.giveBack();
  }

  /** Ends the call because its time is over. */
  async expire(): Promise<void> {
    await this.appendEnd("expired", endError("expired"));
    this.removeWithObjects();
  }

  /**
   * Ends the call with its error, stores its dead letter, and only then removes it from the
   * queue. `header` is what the response would have had; `cause` is for the operator only.
   */
  async fail(
    error: ConnectError,
    header: Headers | undefined,
    cause: { readonly text: string; readonly onLost: (error: unknown) => void } | undefined,
  ): Promise<void> {
    const { link, method, call } = this;
    await this.appendEnd("failed", error, header);
    if (header) {
      appendMetadata(error.metadata, header);
    }
    if (cause) {
      // Sent before the dead letter, which does not wait for it.
      storeCause(link, method, call, cause.text).catch(cause.onLost);
    }
    await this.storeLetter(error, this.attempt);
  }

  private appendEnd(outcome: Outcome, error: ConnectError, header?: Headers): Promise<void> {
    return this.writer.append(statusEnd(this.link, outcome, error, this.request, header));
  }

  /**
   * Does what the end of a call asks for that another one has made: its dead letter may not be
   * stored, and its request is still queued.
   */
  async finish(outcome: Outcome): Promise<void> {
    if (outcome !== "failed") {
      this.removeWithObjects();
      return;
    }
    const { link, method, call } = this;
    // Clients may write to their logs: something may follow the end that must not.
    const range = { subject: entrySubjectOf(method, call), from: 0 };
    for await (const entry of readLog(link, method.service, range)) {
      if (entry.kind === "end") {
        await this.storeLetter(decodeStatus(entry.message), entry.attempt);
        return;
      }
    }
    // The server that answers may lag behind the rest of a cluster: the request comes again.
  }

  /**
   * Writes the end of a call whose request was withdrawn: the client that did it may be lost.
   * Returns how the call ended.
   */
  async endWithdrawn(withdrawal: Withdrawal): Promise<void> {
    const state = await this.writer.readState();
    if (state.outcome) {
      // A worker that ended it meanwhile may not have come to store its dead letter.
      await this.finish(state.outcome);
      return;
    }
    this.writer.writeAs(state.attempt);
    await this.appendEnd(withdrawal, endError(withdrawal));
    tellWorkers(this.link, this.method, this.call);
    this.removeWithObjects();
  }

  /** Ends a call whose log cannot be read: nobody can tell what has become of it. */
  async bury(error: ConnectError): Promise<void> {
    const { link, method, call, request } = this;
    await buryCall(link, method, call, request, error);
    this.remove();
  }

  /**
   * Stores once more that the attempt was made, in a log that has lost entries, and gives the
   * request back: else the attempts before would be made once more.
   */
  async recall(): Promise<void> {
    await this.writer.recall(this.attemptEntry());
    this.request.giveBack();
  }

  /** Removes the objects of attempts that are over which no entry of the log names. */
  async removeLeftovers(own: AttemptObjects | undefined, hasSucceeded: boolean): Promise<void> {
    const { link, method, call, writer } = this;
    if ((!own || hasSucceeded) && writer.objects.size === 0) {
      return;
    }
    try {
      const state = await writer.readState();
      const isOver = state.hasEnded || state.attempt <= writer.attempt;
      for (const [base, named] of writer.objects) {
        // Those of an attempt that runs are its own.
        if (base === own?.base || isOver) {
          const prefix = `${responseSpace(method, call)}.${base}`;
          const count =
            base === own?.base ? own.count : await countObjects(link, method, prefix, named);
          removeObjects(link, method.service, { prefix, count }, named);
        }
      }
    } catch {
      // The next attempt does it, or the server when they are too old.
    }
  }

  /** Keeps the request of a call that failed, and only then removes it from the queue. */
  private async storeLetter(error: ConnectError, attempts: number): Promise<void> {
    const { link, method, call, request } = this;
    await storeDeadLetter(link, method, call, request, error, attempts);
    this.remove();
  }

  private removeWithObjects(): void {
    const { link, method, call, request } = this;
    this.remove();
    if (request.hasObjects) {
      void releaseObjects(link, method, call, request).catch(() => undefined);
    }
  }

  /** Acknowledges the request: in no hurry, unless others wait for its place. */
  private remove(): void {
    const { method, request } = this;
    if (method.maxConcurrency > 0 || method.service.maxQueueLength > 0) {
      request.acknowledge();
    } else {
      request.acknowledgeLate();
    }
  }
}

function addResponse(block: HeaderBlock, { object, objects }: ResponseEntry): HeaderBlock {
  if (object) {
    block.add(Header.payload, object);
  }
  if (objects) {
    block.add(Header.objects, `${objects.base} ${objects.count}`);
  }
  return block;
}
