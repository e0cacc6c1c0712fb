import type { DescMessage, MessageInitShape } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";
import { type Msg, nanos, nuid } from "@nats-io/nats-core";
import { ProgressSchema } from "../gen/jetrpc/v1/call_pb.js";
import { buryCall } from "../ledger/bury-call.js";
import {
  type Claim,
  type EntryKind,
  entrySubject,
  isAsLate,
  isMalformed,
  isSame,
  type Outcome,
  progressSubject,
} from "../ledger/call-log.js";
import { CallLogWriter, LostClaim, LostEntries, type NewEntry } from "../ledger/call-log-writer.js";
import { newestRequest } from "../ledger/call-search.js";
import { storeCause, storeDeadLetter } from "../ledger/dead-letter.js";
import { deliveryOf, readLog } from "../ledger/log-reader.js";
import { pause, untilAnswered } from "../link/jetstream.js";
import type { Link } from "../link/link.js";
import { publishInto } from "../link/provision.js";
import { checkSize, decodeRequest, encode, encodingOf } from "../message/codec.js";
import {
  Header,
  HeaderBlock,
  headerSize,
  putAgain,
  readAccepted,
  readDigest,
  readTimeoutMs,
} from "../message/header.js";
import { addKind } from "../message/method-kind.js";
import {
  appendMetadata,
  cutText,
  decodeStatus,
  encodeStatus,
  endError,
  isConnectError,
  isRetried,
  permanent,
  retryDelayOf,
  toDelayMs,
} from "../message/status.js";
import { bindBlobs } from "../objects/blob.js";
import { OutgoingBlobs } from "../objects/outgoing-blobs.js";
import {
  countObjects,
  isOversize,
  releaseObjects,
  removeObjects,
  responseTtlMs,
} from "../objects/payload-store.js";
import type { MethodBinding } from "../schema/binding.js";
import { holdsBlobs } from "../schema/blob-fields.js";
import type { CallName } from "../schema/call-id.js";
import { requestSpace, responseSpace } from "../schema/object-name.js";
import { type Attempt, AttemptContext, type CheckedReport } from "./attempt-context.js";
import { toCallerError } from "./caller-error.js";
import type { DeliveryCounts } from "./delivery-counts.js";
import type { LogLevel } from "./log.js";
import type { ServedMethod } from "./settings.js";
import { textWithStack } from "./thrown-text.js";

/** An attempt that has not ended by then is noted in the log, in ms. */
const announceAfterMs = 250;

/** Bytes of a log entry's own headers. */
const entryReserve = 1024;

/** Most bytes of the text of a report of progress. */
const maxProgressBytes = 4096;

/**
 * By how many deliveries a claim may be ahead of the one that is at hand: that many were
 * made, at most, while a process stood still. One that is further ahead is not believed.
 */
const mostAhead = 16;

/** When an attempt has to be over. */
interface TimeLimit {
  /** By performance.now(). */
  readonly endsAt: number;
  readonly timeoutMs: number;
  /** True when it is the call that has to be over. */
  readonly isCallsOwn: boolean;
}

/** How long an attempt may take. */
type TimeLeft = Pick<TimeLimit, "timeoutMs" | "isCallsOwn"> & {
  /** True when the caller has limited the time of the call. */
  readonly isCallers: boolean;
};

/** Why an attempt is stopped when its worker stops. */
const shutdown = new ConnectError("the worker stops", Code.Unavailable);

/** Runs one delivery of a queued request: one attempt of a durable call. */
export class DurableAttempt implements Attempt {
  private readonly method: MethodBinding;
  private readonly claimed: Claim;
  private readonly acceptedAtMs: number;
  private context: AttemptContext | undefined;
  /** Earlier attempts that count for nothing: their workers gave the call back. */
  private releases = 0;
  private readonly writer: CallLogWriter;
  /** When to note in the log that it runs; never before it does. */
  private announceAt = Number.POSITIVE_INFINITY;
  private limit: TimeLimit | undefined;
  private rejectStep: ((reason: unknown) => void) | undefined;
  private hasLostProgress = false;
  /** The server may not know whether it handed out the request before. */
  private readonly isUnsure: boolean;
  /** Nor does an empty log tell whether it was begun. */
  private readonly isDoubtful: boolean;
  /** What the names of its objects begin with; empty while it has none. */
  private base = "";
  /** Objects that it stored, or began to. */
  private objects = 0;
  private hasSucceeded = false;
  /** The response header is stored: with the first message. */
  private isHeaderStored = false;
  private stopReason: { readonly reason: unknown } | undefined;

  constructor(
    private readonly link: Link,
    private readonly served: ServedMethod,
    private readonly request: Msg,
    private readonly call: CallName,
    private readonly counts: DeliveryCounts,
  ) {
    this.method = served.method;
    const { deliveries, streamSequence, storedAtMs } = deliveryOf(request);
    this.isDoubtful = storedAtMs <= counts.doubtfulUntil;
    this.isUnsure = this.isDoubtful || storedAtMs <= counts.unsureUntil;
    this.claimed = { request: streamSequence, delivery: deliveries };
    this.acceptedAtMs = readAccepted(request.headers) ?? storedAtMs;
    this.writer = new CallLogWriter(link, served.method, call, this.claimed);
  }

  get callId(): string {
    return this.call.callId;
  }

  get number(): number {
    return this.writer.attempt;
  }

  /** Tells the server that the attempt is alive. */
  working(): void {
    this.answer("+WPI");
  }

  /** Stops the attempt because the worker stops, and gives the call back. */
  release(): void {
    this.stop(shutdown);
  }

  /** True when it runs the call that is named so. */
  isOf(suffix: string): boolean {
    return this.call.suffix === suffix;
  }

  /** Stops the attempt if the call is not its own any more. */
  async check(): Promise<void> {
    try {
      const lost = await this.writer.findLostClaim();
      if (lost) {
        this.stop(lost);
      }
    } catch (error) {
      if (isMalformed(error)) {
        this.stop(error);
      }
      // Otherwise it finds out when it writes.
    }
  }

  /** Gives the call back before it was begun. */
  async giveBack(): Promise<void> {
    try {
      const { sequence } = await this.writer.readState();
      // The next delivery would count this one as an attempt; where there are entries,
      // these are what counts.
      if (sequence === 0 && this.mayBeFirst) {
        await this.writer.append({ kind: "release", payload: new Uint8Array(0) });
      }
    } catch {
      // Then this delivery counts as an attempt.
    }
    this.answer("-NAK");
  }

  /** Runs the attempt to its end. Never throws. */
  async run(): Promise<void> {
    const withdrawn = this.request.headers?.get(Header.withdrawn);
    if (withdrawn) {
      await this.endWithdrawn(withdrawn === "expired" ? withdrawn : "cancelled");
      return;
    }
    const { stats } = this.served;
    const beganAt = stats.began();
    try {
      await this.attempt();
    } catch (thrown) {
      await this.settle(isReadable(thrown) ? thrown : toCallerError(thrown, false));
    } finally {
      stats.ended(beganAt);
      this.context?.finish();
    }
    if ((this.objects > 0 && !this.hasSucceeded) || this.writer.objects.size > 0) {
      await this.removeLeftovers();
    }
  }

  /** Removes the objects of attempts that are over which no entry of the log names. */
  private async removeLeftovers(): Promise<void> {
    const { link, method, call, writer, base } = this;
    try {
      const state = await writer.readState();
      const isOver = state.hasEnded || state.attempt <= writer.attempt;
      for (const [each, named] of writer.objects) {
        // Those of an attempt that runs are its own.
        if (each === base || isOver) {
          const prefix = `${responseSpace(method, call)}.${each}`;
          const count =
            each === base ? this.objects : await countObjects(link, method, prefix, named);
          removeObjects(link, method.service, { prefix, count }, named);
        }
      }
    } catch {
      // Who makes the next attempt does it, or the server when they are too old.
    }
  }

  /** Whoever withdrew the request may not have come to write the end of its call. */
  private async endWithdrawn(outcome: "cancelled" | "expired"): Promise<void> {
    try {
      const state = await this.writer.readState();
      if (state.outcome) {
        // A worker that ended it meanwhile may not have come to store its dead letter.
        await this.afterEnd(state.outcome);
        return;
      }
      this.writer.attempt = state.attempt;
      const origin = (block: HeaderBlock) => this.addOrigin(block);
      await this.writer.append(this.statusEntry("end", endError(outcome), origin, outcome));
      this.link.cancel(this.method.cancelSubject, this.call.suffix);
      this.acknowledge();
    } catch (error) {
      if (error instanceof LostClaim || isMalformed(error)) {
        await this.settle(error);
      } else {
        this.report("error", "the end of a withdrawn call could not be stored", error);
      }
    }
  }

  private async attempt(): Promise<void> {
    const { headers } = this.request;
    // The common request has no header: nothing to look up, nothing to wait for.
    const isFirst = this.claimed.delivery === 1 && !this.isUnsure && !headers?.has(Header.replay);
    const resumeFrom = isFirst ? 0 : await this.claim();
    const { timeoutMs, isCallsOwn, isCallers } = this.timeLeft();
    const { link, method } = this;
    const { limits } = this.served.settings;
    const space = requestSpace(method, this.call);
    const bytes = headers?.has(Header.payload)
      ? await link.payloads.load(method.service, this.request, space, limits.readMaxBytes)
      : this.request.data;
    checkSize(method.desc.input, bytes, limits, "readMaxBytes");
    const encoding = encodingOf(headers?.get(Header.contentType) ?? "");
    const message = decodeRequest(method.desc, bytes, encoding);
    bindBlobs(link, method.service, space, method.desc.input, message);
    this.context = new AttemptContext(method, this.request, timeoutMs, isCallers, this, resumeFrom);
    const now = performance.now();
    this.announceAt = now + announceAfterMs;
    if (timeoutMs > 0) {
      this.limit = { endsAt: now + timeoutMs, timeoutMs, isCallsOwn };
    }
    if (this.method.desc.methodKind === "unary") {
      await this.runUnary(message, this.context);
    } else {
      await this.runStream(message, this.context, resumeFrom);
    }
  }

  /**
   * Called from time to time: announces the attempt, and ends it when its time is
   * over. A timer for each would cost more than a short call does.
   */
  tick(now: number): void {
    if (now >= this.announceAt) {
      this.announceAt = Number.POSITIVE_INFINITY;
      this.announce();
    }
    this.checkTime(now);
  }

  private checkTime(now: number): void {
    if (this.limit && now >= this.limit.endsAt) {
      this.expire();
    }
  }

  /** Stops the attempt because its time is over, or that of the call. */
  expire(): void {
    const { limit } = this;
    if (limit) {
      const text = `attempt ${this.writer.attempt} took longer than ${limit.timeoutMs} ms`;
      this.stop(limit.isCallsOwn ? new Expired() : new ConnectError(text, Code.DeadlineExceeded));
    }
  }

  /** A server that was killed may hand out the request anew: the log tells that it runs. */
  announceSoon(): void {
    if (this.announceAt < Number.POSITIVE_INFINITY) {
      this.announceAt = 0;
    }
  }

  private announce(): void {
    this.writer.announce(this.attemptEntry());
  }

  private attemptEntry(objects?: string): NewEntry {
    return {
      kind: "attempt",
      payload: new Uint8Array(0),
      headers: (block) => {
        if (objects) {
          block.add(Header.objects, objects);
        }
        return this.addOrigin(block);
      },
    };
  }

  /**
   * Makes the call this attempt's own, and tells how many messages are stored.
   * The first delivery of a new call needs no entry for that: its first append
   * expects an empty log.
   */
  private async claim(): Promise<number> {
    const { link, writer, method, claimed } = this;
    for (let isMade = false, retry = 0; ; retry++) {
      const state = await untilAnswered(link, () => writer.readState());
      if (state.hasEnded) {
        throw new LostClaim(state.outcome);
      }
      if (state.claim && isAsLate(state.claim, claimed)) {
        if (isMade && isSame(state.claim, claimed)) {
          // A worker that was taken for lost, and is not, hears that it has lost its claim.
          link.cancel(method.cancelSubject, this.call.suffix);
          return writer.messages;
        }
        if (!(await this.isVoid(state.claim))) {
          // A later delivery was begun while this one lay in a process that stood still.
          throw new LostClaim(undefined);
        }
      }
      if (state.sequence === 0 && this.mayBeFirst) {
        return 0;
      }
      // The first attempt leaves no entry when its worker is lost.
      writer.attempt = Math.max(1, state.attempt) + 1;
      this.releases = state.releases;
      const spent = writer.attempt - 1 - state.releases;
      // One that only may have been made ends no call.
      const isCertain = state.sequence > 0 || this.isRepeated;
      if (spent >= method.maxAttempts && isCertain) {
        writer.attempt--;
        throw gaveUp(spent);
      }
      if (retry > 0) {
        await pause(retry - 1);
      }
      isMade = true;
      await writer.claimAfter(state.attempt, this.attemptEntry());
    }
  }

  /**
   * True for a claim as late as this one that no attempt can have made: clients may write
   * to their logs, and a consumer that was made anew counts its deliveries from 1. To obey
   * it would be to drop the request each time it comes.
   */
  private async isVoid({ request, delivery }: Claim): Promise<boolean> {
    const { link, method, call, claimed, counts } = this;
    if (request === claimed.request) {
      return (
        this.writer.claimedAtMs <= counts.unsureUntil || delivery - claimed.delivery > mostAhead
      );
    }
    const newest = await untilAnswered(link, () => newestRequest(link, method, call));
    return newest === claimed.request;
  }

  /** True when the request was handed out before. */
  private get isRepeated(): boolean {
    return this.claimed.delivery > 1 || this.request.headers?.get(Header.replay) === putAgain;
  }

  /** True when no other attempt can have begun that has left no entry yet. */
  private get mayBeFirst(): boolean {
    return !this.isRepeated && !this.isDoubtful;
  }

  /** Time for this attempt, 0 for no limit. Throws when the call's own time is over. */
  private timeLeft(): TimeLeft {
    const { timeoutMs } = this.method;
    const callMs = readTimeoutMs(this.request.headers);
    if (!callMs) {
      return { timeoutMs, isCallsOwn: false, isCallers: false };
    }
    const left = callMs - (Date.now() - this.acceptedAtMs);
    if (left <= 0) {
      throw new Expired();
    }
    return timeoutMs > 0 && timeoutMs < left
      ? { timeoutMs, isCallsOwn: false, isCallers: true }
      : { timeoutMs: left, isCallsOwn: true, isCallers: true };
  }

  /** What the log keeps of the request when that is gone. */
  private addOrigin(block: HeaderBlock): HeaderBlock {
    const digest = readDigest(this.request.headers);
    if (digest) {
      block.add(Header.digest, digest);
    }
    return block.add(Header.accepted, this.acceptedAtMs);
  }

  private async runUnary(message: unknown, context: AttemptContext): Promise<void> {
    const result = await this.step(() => this.served.handler(message, context));
    const entry = this.toEntry("end", result, context);
    await this.end(entry instanceof Promise ? await entry : entry);
  }

  private async runStream(
    message: unknown,
    context: AttemptContext,
    resumeFrom: number,
  ): Promise<void> {
    let toSkip = this.method.resume === "replay" ? resumeFrom : 0;
    this.isHeaderStored = resumeFrom > 0;
    const iterator = this.startStream(message, context);
    try {
      for (;;) {
        const next = await this.step(() => iterator.next());
        if (next.done) {
          break;
        }
        if (toSkip > 0) {
          toSkip--;
          continue;
        }
        const header = this.isHeaderStored ? undefined : context;
        const entry = this.toEntry("message", next.value, header);
        const room = this.writer.push(entry instanceof Promise ? await entry : entry);
        this.isHeaderStored = true;
        if (room) {
          await this.step(() => room);
        }
      }
    } catch (error) {
      // Lets the handler clean up; whether and when it does changes nothing here.
      (async () => await iterator.return?.())().catch(() => undefined);
      throw error;
    }
    const part = this.isHeaderStored ? "trailer" : "both";
    const metadata = context.responseMetadata(this.link.maxPayload, part);
    await this.end({
      kind: "end",
      outcome: "succeeded",
      payload: new Uint8Array(0),
      headers: (block) => addKind(this.addOrigin(block), this.method.desc).append(metadata),
    });
  }

  private startStream(
    message: unknown,
    context: AttemptContext,
  ): AsyncIterator<MessageInitShape<DescMessage>> {
    const stream = this.served.handler(message, context) as AsyncIterable<
      MessageInitShape<DescMessage>
    >;
    return stream[Symbol.asyncIterator]();
  }

  /** Waits for a step of the handler, or for what stops the attempt. */
  private step<T>(run: () => Promise<T> | T): Promise<Awaited<T>> {
    return new Promise((resolve, reject) => {
      if (this.stopReason) {
        reject(this.stopReason.reason);
        return;
      }
      this.rejectStep = reject;
      // An async function, so that a handler that throws at once rejects as well.
      void (async () => {
        try {
          const result = await run();
          // What comes too late counts for nothing, also where no timer has fired yet.
          this.checkTime(performance.now());
          resolve(result);
        } catch (error) {
          this.checkTime(performance.now());
          reject(error);
        }
      })();
    });
  }

  private stop(reason: unknown): void {
    this.stopReason ??= { reason };
    this.context?.abort(
      reason instanceof LostClaim || reason instanceof Expired ? reason.toConnectError() : reason,
    );
    this.rejectStep?.(this.stopReason.reason);
  }

  /** A promise only for what has to be stored elsewhere first. */
  private toEntry(
    kind: "message" | "end",
    init: unknown,
    context: AttemptContext | undefined,
  ): NewEntry | Promise<NewEntry> {
    const { output } = this.method.desc;
    const message = init as MessageInitShape<DescMessage>;
    return holdsBlobs(output)
      ? this.storeBlobs(new OutgoingBlobs(output, message, Code.Internal)).then((payload) =>
          this.encodedEntry(kind, payload, context),
        )
      : this.encodedEntry(kind, encode(output, message, Code.Internal), context);
  }

  /** Stores what the Blobs of a response hold; returns the response. */
  private storeBlobs(blobs: OutgoingBlobs<DescMessage>): Promise<Uint8Array> {
    const { link, method, context } = this;
    const options = { ttlMs: responseTtlMs(method.service), signal: context?.signal };
    return this.step(async () => {
      const names = await this.nameObjects(blobs.count);
      return blobs.encode(await blobs.store(link, method.service, names, options));
    });
  }

  /**
   * Names objects that are to be stored. Before the first one the log says what their names
   * begin with: who makes the next attempt, if this one is lost, removes them.
   */
  private async nameObjects(count: number): Promise<(index: number) => string> {
    // What is stored may be long on its way.
    this.working();
    if (!this.base) {
      this.announceAt = Number.POSITIVE_INFINITY;
      const base = nuid.next();
      await this.writer.append(this.attemptEntry(`${base} 0`));
      this.base = base;
    }
    const first = this.objects;
    this.objects += count;
    const prefix = `${responseSpace(this.method, this.call)}.${this.base}`;
    return (index) => `${prefix}.${first + index}`;
  }

  private encodedEntry(
    kind: "message" | "end",
    payload: Uint8Array,
    context: AttemptContext | undefined,
  ): NewEntry | Promise<NewEntry> {
    const { link, method } = this;
    checkSize(method.desc.output, payload, this.served.settings.limits, "writeMaxBytes");
    const metadata = context?.responseMetadata(link.maxPayload, kind === "end" ? "both" : "header");
    const entry = (bytes: Uint8Array, object?: string): NewEntry => {
      const objects = this.base && `${this.base} ${this.objects}`;
      return {
        kind,
        ...(kind === "end" && { outcome: "succeeded" as const }),
        payload: bytes,
        headers: (block) => {
          if (object) {
            block.add(Header.payload, object);
          }
          if (objects) {
            block.add(Header.objects, objects);
          }
          if (kind === "end") {
            this.addOrigin(block);
          }
          return block.append(metadata);
        },
      };
    };
    if (!isOversize(payload, headerSize(metadata), link.maxPayload)) {
      return entry(payload);
    }
    const options = { ttlMs: responseTtlMs(method.service), signal: this.context?.signal };
    return this.step(async () => {
      const name = await this.nameObjects(1);
      const object = await link.payloads.put(method.service, name(0), payload, options);
      return entry(new Uint8Array(0), object);
    });
  }

  /** Stores the end of the call, and only then removes it from the queue. */
  private async end(entry: NewEntry): Promise<void> {
    this.announceAt = Number.POSITIVE_INFINITY;
    this.context?.flushProgress();
    await this.writer.append(entry);
    this.hasSucceeded = entry.outcome === "succeeded";
    this.acknowledge();
  }

  private acknowledge(): void {
    this.removeRequest();
    const { link, method, call, request } = this;
    if (request.headers?.has(Header.objects)) {
      void releaseObjects(link, method, call, request).catch(() => undefined);
    }
  }

  /** Decides what follows from what ended the attempt. */
  private async settle(thrown: unknown): Promise<void> {
    // What it ends with tells that it ran.
    this.announceAt = Number.POSITIVE_INFINITY;
    try {
      if (thrown instanceof LostClaim) {
        this.context?.abort(thrown.toConnectError());
        const { outcome } = thrown;
        if (outcome !== "cancelled" && outcome !== "expired") {
          this.report("warn", "an attempt lost its claim", thrown);
        } else if (this.context) {
          this.report("info", outcome === "expired" ? "a call expired" : "a call was cancelled");
        }
        if (outcome) {
          await this.afterEnd(outcome);
        }
      } else if (thrown === shutdown) {
        await this.writer.append({ kind: "release", payload: new Uint8Array(0) });
        this.answer("-NAK");
        this.report("info", "a call was given back");
      } else if (thrown instanceof Expired) {
        const error = thrown.toConnectError();
        this.context?.abort(error);
        const origin = (block: HeaderBlock) => this.addOrigin(block);
        await this.end(this.statusEntry("end", error, origin, "expired"));
        this.report("info", "a call expired");
      } else if (isMalformed(thrown)) {
        await this.buryUnreadable(thrown as ConnectError);
      } else if (thrown instanceof LostEntries) {
        this.context?.abort(thrown);
        // What the log has lost of attempts before would be made once more.
        await this.writer.recall(this.attemptEntry());
        this.answer("-NAK");
        this.report("error", "an attempt is made anew", thrown);
      } else {
        await this.settleFailure(thrown);
      }
    } catch (error) {
      if ((error instanceof LostClaim || isMalformed(error)) && thrown !== error) {
        await this.settle(error);
        return;
      }
      // The log cannot be written: the server gives the call out again.
      this.report("error", "the outcome of an attempt could not be stored", error);
    }
  }

  /** Nobody can tell what has become of a call whose log cannot be read: it ends. */
  private async buryUnreadable(error: ConnectError): Promise<void> {
    this.context?.abort(error);
    await buryCall(this.link, this.method, this.call, this.request, error);
    this.removeRequest();
    this.report("error", "a call was ended whose log cannot be read", error);
  }

  /** Someone else has ended the call: what that one may not have come to is done here. */
  private async afterEnd(outcome: Outcome): Promise<void> {
    if (outcome !== "failed") {
      this.acknowledge();
      return;
    }
    const { link, method, call } = this;
    // Clients may write to their logs: something may follow the end that must not.
    const range = { subject: entrySubject(method, call), from: 0 };
    for await (const entry of readLog(link, method.service, range)) {
      if (entry.kind === "end") {
        await this.bury(decodeStatus(entry.message), entry.attempt);
        return;
      }
    }
    // Who answers may lag behind the rest of a cluster: then the request comes again.
  }

  private async settleFailure(thrown: unknown): Promise<void> {
    const error = toCallerError(thrown, this.served.settings.revealErrors);
    this.served.stats.failed(error);
    this.context?.abort(error);
    const { maxAttempts, retryCodes } = this.method;
    const mayRetry = isRetried(error, retryCodes);
    if (mayRetry && this.writer.attempt - this.releases < maxAttempts) {
      const delayMs = retryDelayOf(error) ?? this.backoffMs();
      await this.writer.append(
        this.statusEntry("retry", error, (block) => block.add(Header.delay, delayMs)),
      );
      this.answer(`-NAK ${JSON.stringify({ delay: nanos(delayMs) })}`);
      this.report("warn", "an attempt failed and will be repeated", thrown);
      return;
    }
    this.context?.flushProgress();
    const origin = (block: HeaderBlock) => this.addOrigin(block);
    const { context } = this;
    const told = context?.withTrailer(error) ?? error;
    const header = this.isHeaderStored ? undefined : context?.leadingMetadata;
    await this.writer.append(this.statusEntry("end", told, origin, "failed", header));
    if (header) {
      appendMetadata(told.metadata, header);
    }
    const isBug = !isConnectError(thrown);
    if (isBug) {
      this.keepCause(thrown);
    }
    await this.bury(told, this.writer.attempt);
    this.report(mayRetry || isBug ? "error" : "warn", "a call failed", thrown);
  }

  /** The caller is told less than whoever has to find the bug. */
  private keepCause(thrown: unknown): void {
    // Sent before the dead letter, which does not wait for it.
    storeCause(this.link, this.method, this.call.suffix, textWithStack(thrown)).catch((error) =>
      this.report("warn", "the text of what was thrown could not be stored", error),
    );
  }

  /** Keeps the request of a call that failed, and only then removes it from the queue. */
  private async bury(error: ConnectError, attempts: number): Promise<void> {
    const { link, method, call, request, acceptedAtMs } = this;
    await storeDeadLetter(link, method, call.suffix, request, error, attempts, acceptedAtMs);
    this.removeRequest();
  }

  /** Acknowledges the request: in no hurry, unless others wait for its place. */
  private removeRequest(): void {
    const { link, method, request } = this;
    if (method.maxConcurrency > 0 || method.service.maxQueueLength > 0) {
      this.answer("+ACK");
    } else if (request.reply && link.connected) {
      link.publishLate(request.reply, "+ACK");
    }
  }

  private backoffMs(): number {
    const { backoffMs } = this.method;
    const wait = backoffMs[Math.min(this.writer.attempt, backoffMs.length) - 1] ?? 0;
    return toDelayMs(wait * (0.8 + 0.4 * Math.random())) ?? 0;
  }

  /** Also called by a timer. */
  publishProgress(report: CheckedReport): void {
    this.link.guard(() => this.storeProgress(report));
  }

  private storeProgress(report: CheckedReport): void {
    if (!this.link.connected) {
      return;
    }
    const { link } = this;
    const headers = new HeaderBlock().add(Header.entry, `progress ${this.writer.attempt}`);
    const most = Math.min(maxProgressBytes, Math.floor(link.maxPayload / 4));
    const message = cutText(report.message, most);
    const payload = encode(ProgressSchema, { ...report, message }, Code.Internal);
    const subject = progressSubject(this.method, this.call);
    publishInto(link, this.method.service, subject, payload, headers).catch((error) => {
      if (!this.hasLostProgress) {
        this.hasLostProgress = true;
        this.report("warn", "the progress of a call could not be stored", error);
      }
    });
  }

  private statusEntry(
    kind: EntryKind,
    error: ConnectError,
    more: (block: HeaderBlock) => HeaderBlock,
    outcome?: Outcome,
    header?: Headers,
  ): NewEntry {
    const maxBytes = this.link.maxPayload - entryReserve;
    const { headers, payload } = encodeStatus(error, { maxBytes, header });
    return {
      kind,
      ...(outcome && { outcome }),
      payload,
      headers: (block) => more(block.append(headers)),
    };
  }

  /** Acknowledges the delivery in one of JetStream's ways. */
  private answer(how: string): void {
    // Lost when disconnected: then the server delivers again, and the log decides.
    if (this.request.reply && this.link.connected) {
      this.link.publish(this.request.reply, how);
    }
  }

  private report(level: LogLevel, message: string, error?: unknown): void {
    this.served.settings.log({
      level,
      message,
      method: this.method.desc.toString(),
      callId: this.call.callId,
      attempt: this.writer.attempt,
      ...(error !== undefined && { error }),
    });
  }
}

/** Attempts are used up by workers that died without a word. */
function gaveUp(attempts: number): ConnectError {
  const text = `gave up after ${attempts} attempts: the last worker was lost while it ran the call`;
  return permanent(new ConnectError(text, Code.Internal));
}

/** The call's own time is over. */
class Expired extends Error {
  toConnectError(): ConnectError {
    return endError("expired");
  }
}

/** False for what cannot be looked at: a Proxy that throws. */
function isReadable(thrown: unknown): boolean {
  try {
    Object.getPrototypeOf(Object(thrown));
    return true;
  } catch {
    return false;
  }
}
