import type { ConnectError } from "@connectrpc/connect";
import type { Link } from "../link/link.js";
import { Header, type HeaderBlock } from "../message/header.js";
import { appendMetadata } from "../message/metadata.js";
import { addKind } from "../message/method-kind.js";
import { decodeStatus, endError } from "../message/status.js";
import { countObjects, releaseObjects, removeObjects } from "../objects/payload-store.js";
import type { MethodBinding } from "../schema/binding.js";
import type { CallName } from "../schema/call-id.js";
import { entrySubjectOf } from "../schema/call-subjects.js";
import { responseSpace } from "../schema/object-name.js";
import { attemptEntry, claimCall, type Doubts, doubtsOf } from "./claim.js";
import { buryCall, storeCause, storeDeadLetter } from "./dead-letters.js";
import type { DeliveryCounts } from "./delivery-counts.js";
import { entryStatus, statusEnd, tellWorkers } from "./ending.js";
import {
  type AttemptObjects,
  addObjects,
  addOrigin,
  type NewEnd,
  type Outcome,
  readLog,
  tellEnd,
} from "./log.js";
import { LogWriter } from "./log-writer.js";
import type { LostClaim } from "./lost-claim.js";
import type { DeliveredRequest, Withdrawal } from "./stored-request.js";

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
  private readonly doubts: Doubts;

  constructor(
    private readonly link: Link,
    private readonly method: MethodBinding,
    readonly call: CallName,
    readonly request: DeliveredRequest,
    counts: DeliveryCounts,
    /** Names the worker in the log. */
    worker: string,
  ) {
    const { sequence, delivery } = request;
    this.doubts = doubtsOf(request, counts);
    this.writer = new LogWriter(link, method, call, { request: sequence, delivery }, worker);
  }

  /** Number of the attempt, from 1. */
  get attempt(): number {
    return this.writer.attempt;
  }

  /** True while the schema allows a further attempt after this one. */
  get hasAttemptsLeft(): boolean {
    return this.attempt - this.writer.releases < this.method.maxAttempts;
  }

  /** The line that the attempt before this one left in the log. */
  get lastNote(): string | undefined {
    return this.writer.lastNote;
  }

  /** Leaves a line in the log for the attempt after this one, asked for when it is written. */
  leaveNote(note: () => string | undefined): void {
    this.writer.note = note;
  }

  /** False for the first delivery of a new call: nobody else can have begun it. */
  get needsClaim(): boolean {
    return this.doubts.isUnsure || this.request.isReplay;
  }

  /** Makes the call this attempt's own. Returns how many messages of its response are stored. Errors: see {@link claimCall}. */
  claim(): Promise<number> {
    const { link, method, call, request, writer, doubts } = this;
    return claimCall(link, method, call, request, writer, doubts);
  }

  /** Looks whether the call is still this attempt's. */
  findLostClaim(): Promise<LostClaim | undefined> {
    return this.writer.findLostClaim();
  }

  /** Stores that the attempt runs, unless the log tells so. Not waited for. */
  announce(): void {
    this.writer.announce(attemptEntry(this.request));
  }

  /**
   * Stores what the names of the attempt's objects have in common, before the first of them is
   * stored: if this attempt is lost, the worker that makes the next one removes them.
   */
  announceObjects(base: string): Promise<void> {
    return this.writer.append(attemptEntry(this.request, { base, count: 0 }));
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
    await this.end({
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
    const { headers, payload } = entryStatus(this.link, error);
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
      if (sequence === 0 && this.doubts.mayBeFirst) {
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
    return this.end(statusEnd(this.link, outcome, error, this.request, header));
  }

  private end(entry: NewEnd): Promise<void> {
    const { link, method, call, request } = this;
    const beganAt = Date.now();
    const stored = this.writer.append(entry);
    return link.observer?.ended
      ? stored.then(
          () => void tellEnd(link, method, call, entry.outcome, request.acceptedAtMs, beganAt),
        )
      : stored;
  }

  /**
   * Finishes what another attempt left undone after it wrote the end: the dead letter may not
   * be stored, and the request is still queued.
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
   * Writes the end of a call whose request was withdrawn: the client that withdrew it may
   * be lost.
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
   * request back. Otherwise the attempts that the log has lost would not be counted.
   */
  async recall(): Promise<void> {
    await this.writer.recall(attemptEntry(this.request));
    this.request.giveBack();
  }

  /** True when attempts may have left objects that no entry of the log names. */
  mayLeaveObjects(own: AttemptObjects | undefined, hasSucceeded: boolean): boolean {
    return (own !== undefined && !hasSucceeded) || this.writer.objects !== undefined;
  }

  /** Removes the objects of attempts that are over which no entry of the log names. */
  async removeLeftovers(own: AttemptObjects | undefined): Promise<void> {
    const { link, method, call, writer } = this;
    try {
      const state = await writer.readState();
      const isOver = state.hasEnded || state.attempt <= writer.attempt;
      for (const [base, named] of writer.objects ?? []) {
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
  return addObjects(block, objects);
}
