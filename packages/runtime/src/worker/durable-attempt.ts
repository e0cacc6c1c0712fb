import type { DescMessage, MessageInitShape } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";
import { isMalformed } from "../ledger/log.js";
import { LostClaim } from "../ledger/lost-claim.js";
import { storeProgress } from "../ledger/progress.js";
import type { ResponseEntry, RunningCall } from "../ledger/running.js";
import type { Withdrawal } from "../ledger/stored-request.js";
import type { Link } from "../link/link.js";
import type { Watch } from "../link/observer.js";
import { checkSize, decodeRequest } from "../message/codec.js";
import { encodingOf } from "../message/encoding.js";
import { bindBlobs } from "../objects/incoming-blobs.js";
import type { MethodBinding } from "../schema/binding.js";
import { holdsBlobs } from "../schema/blob-fields.js";
import { requestSpace } from "../schema/object-name.js";
import { type Attempt, AttemptContext, type CheckedReport } from "./attempt-context.js";
import { type AttemptRemains, AttemptReporter } from "./attempt-report.js";
import { Expired, shutdown } from "./attempt-verdict.js";
import { toCallerError } from "./caller-error.js";
import type { AnyHandler } from "./handler.js";
import { ResponseWriter } from "./response-writer.js";
import type { ServedMethod } from "./served-method.js";
import { Steps } from "./steps.js";
import { watchedHandler } from "./watched-handler.js";

/** An attempt that has not ended by then is noted in the log, in ms. */
const announceAfterMs = 250;

const never = Number.POSITIVE_INFINITY;

/** When an attempt has to be over. */
interface TimeLimit {
  /** By performance.now(). */
  readonly endsAt: number;
  readonly timeoutMs: number;
  /** True when this is the limit of the call, not only of the attempt. */
  readonly isCallsOwn: boolean;
}

/** How long an attempt may take. */
type TimeLeft = Pick<TimeLimit, "timeoutMs" | "isCallsOwn"> & {
  /** True when the caller has limited the time of the call. */
  readonly isCallers: boolean;
};

/** Runs one delivery of a queued request: one attempt of a durable call. */
export class DurableAttempt implements Attempt, AttemptRemains {
  private readonly method: MethodBinding;
  private readonly steps = new Steps(() => this.checkTime(performance.now()));
  private readonly responses: ResponseWriter;
  private readonly reporter: AttemptReporter;
  context: AttemptContext | undefined;
  /** When to store that it runs, by performance.now(); `never` before it does, and after its entry. */
  private announceAt = never;
  private limit: TimeLimit | undefined;
  /** The response header is stored: with the first message. */
  isHeaderStored = false;
  private hasLostProgress = false;

  constructor(
    private readonly link: Link,
    private readonly served: ServedMethod,
    private readonly running: RunningCall,
  ) {
    const { method, settings } = served;
    const signal = () => this.context?.signal;
    this.method = method;
    this.reporter = new AttemptReporter(served, running);
    if (link.observer?.handling) {
      running.leaveNote(() => this.begin()?.note);
    }
    this.responses = new ResponseWriter(link, method, running, this.steps, settings, signal);
  }

  get callId(): string {
    return this.running.call.callId;
  }

  get number(): number {
    return this.running.attempt;
  }

  /** Tells the server that the attempt is alive. */
  working(): void {
    this.running.request.working();
  }

  /** Stops the attempt because the worker stops, and gives the call back. */
  release(): void {
    this.stop(shutdown);
  }

  /** True when it runs the call that is named so. */
  isOf(suffix: string): boolean {
    return this.running.call.suffix === suffix;
  }

  /** Stops the attempt if the call is not its own any more. */
  async check(): Promise<void> {
    try {
      const lost = await this.running.findLostClaim();
      if (lost) {
        this.stop(lost);
      }
    } catch (error) {
      if (isMalformed(error)) {
        this.stop(error);
      }
      // Other errors do not matter: the attempt learns of a lost claim when it writes.
    }
  }

  /** Runs the attempt to its end. Never throws. */
  async run(): Promise<void> {
    const { withdrawn } = this.running.request;
    if (withdrawn) {
      await this.endWithdrawn(withdrawn);
      return;
    }
    const { stats } = this.served;
    const beganAt = stats.began();
    let hasSucceeded = false;
    try {
      const response = await this.answer();
      // No announcement any more: the next entry says that it ran.
      this.announceAt = never;
      hasSucceeded = await this.reporter.succeed(response, this);
    } catch (thrown) {
      await this.fail(isReadable(thrown) ? thrown : toCallerError(thrown, false));
    } finally {
      stats.ended(beganAt);
      this.context?.finish();
    }
    if (this.running.mayLeaveObjects(this.responses.objects, hasSucceeded)) {
      await this.running.removeLeftovers(this.responses.objects);
    }
  }

  private async endWithdrawn(withdrawal: Withdrawal): Promise<void> {
    try {
      await this.running.endWithdrawn(withdrawal);
    } catch (error) {
      if (error instanceof LostClaim) {
        // An attempt that still runs was faster, or the end of the client.
        await this.endWithdrawn(withdrawal);
      } else if (isMalformed(error)) {
        await this.fail(error);
      } else {
        this.reporter.log("error", "the end of a withdrawn call could not be stored", error);
      }
    }
  }

  private fail(thrown: unknown): Promise<void> {
    this.announceAt = never;
    return this.reporter.fail(thrown, this);
  }

  /** Claims the call, and runs its handler. */
  private answer(): Promise<ResponseEntry> {
    const { needsClaim, request } = this.running;
    // Most requests need no claim, and no object: nothing is read before the handler runs.
    return needsClaim || request.isObject
      ? this.answerAfterReading(needsClaim)
      : this.runHandler(0, this.timeLeft(), request.data);
  }

  private async answerAfterReading(needsClaim: boolean): Promise<ResponseEntry> {
    const { link, method, running, served } = this;
    const { request } = running;
    const resumeFrom = needsClaim ? await running.claim() : 0;
    const time = this.timeLeft();
    const { readMaxBytes } = served.settings.limits;
    const space = requestSpace(method, running.call);
    const bytes = request.isObject
      ? await link.payloads.load(method.service, request, space, readMaxBytes)
      : request.data;
    return await this.runHandler(resumeFrom, time, bytes);
  }

  /** Begins to be watched: when it is claimed, or needs no claim. */
  private begin(): Watch | undefined {
    const { running, reporter, link, method } = this;
    if (!reporter.watch && link.observer?.handling) {
      const { subject, headers } = running.request;
      const { callId, number } = this;
      const acceptedAtMs = link.clock.toOwn(running.request.acceptedAtMs);
      const attempt = { callId, number, subject, acceptedAtMs, note: running.lastNote };
      reporter.watch = link.observer.handling(method, headers, attempt);
    }
    return reporter.watch;
  }

  /** Throws for a request that cannot be read. */
  private runHandler(
    resumeFrom: number,
    { timeoutMs, isCallsOwn, isCallers }: TimeLeft,
    bytes: Uint8Array,
  ): Promise<ResponseEntry> {
    const { link, method, running } = this;
    const { request } = running;
    const { input } = method.desc;
    checkSize(input, bytes, this.served.settings.limits, "readMaxBytes");
    const message = decodeRequest(method.desc, bytes, encodingOf(request.contentType));
    if (holdsBlobs(input)) {
      bindBlobs(link, method.service, requestSpace(method, running.call), input, message);
    }
    const context = new AttemptContext(
      method,
      request.message,
      timeoutMs,
      isCallers,
      this,
      resumeFrom,
    );
    this.context = context;
    const handler = watchedHandler(this.served, this.begin());
    const now = performance.now();
    this.announceAt = now + announceAfterMs;
    if (timeoutMs > 0) {
      this.limit = { endsAt: now + timeoutMs, timeoutMs, isCallsOwn };
    }
    return method.desc.methodKind === "unary"
      ? this.runUnary(handler, message, context)
      : this.runStream(handler(message, context), context, resumeFrom);
  }

  /** Time for this attempt, 0 for no limit. Throws when the call's own time is over. */
  private timeLeft(): TimeLeft {
    // Claimed: from here on it is an attempt, also one that does not reach its handler.
    this.begin();
    const { link } = this;
    const { timeoutMs } = this.method;
    const { request } = this.running;
    const callMs = request.timeoutMs;
    if (!callMs) {
      return { timeoutMs, isCallsOwn: false, isCallers: false };
    }
    const left = callMs - (link.clock.nowMs - request.acceptedAtMs);
    if (left <= 0) {
      throw new Expired();
    }
    return timeoutMs > 0 && timeoutMs < left
      ? { timeoutMs, isCallsOwn: false, isCallers: true }
      : { timeoutMs: left, isCallsOwn: true, isCallers: true };
  }

  private async runUnary(
    handler: AnyHandler,
    message: unknown,
    context: AttemptContext,
  ): Promise<ResponseEntry> {
    const response = await this.steps.run(() => handler(message, context));
    return this.responses.entry(response, () => context.responseMetadata(this.link.maxPayload));
  }

  private async runStream(
    stream: AsyncIterable<MessageInitShape<DescMessage>>,
    context: AttemptContext,
    resumeFrom: number,
  ): Promise<ResponseEntry> {
    const { maxPayload } = this.link;
    let toSkip = this.method.resume === "replay" ? resumeFrom : 0;
    this.isHeaderStored = resumeFrom > 0;
    const iterator = stream[Symbol.asyncIterator]();
    try {
      for (;;) {
        const next = await this.steps.run(() => iterator.next());
        if (next.done) {
          break;
        }
        if (toSkip > 0) {
          toSkip--;
          continue;
        }
        const entry = this.responses.entry(next.value, () =>
          this.isHeaderStored ? undefined : context.responseMetadata(maxPayload, "header"),
        );
        const room = this.running.push(entry instanceof Promise ? await entry : entry);
        this.isHeaderStored = true;
        if (room) {
          await this.steps.run(() => room);
        }
      }
    } catch (error) {
      // Lets the handler clean up; whether and when it does changes nothing here.
      (async () => await iterator.return?.())().catch(() => undefined);
      throw error;
    }
    const metadata = context.responseMetadata(maxPayload, this.isHeaderStored ? "trailer" : "both");
    return { payload: new Uint8Array(0), metadata };
  }

  /**
   * Called from time to time: announces the attempt, and ends it when its time is
   * over. A timer for each would cost more than a short call does.
   */
  tick(now: number): void {
    if (now >= this.announceAt) {
      this.announceAt = never;
      this.running.announce();
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
      const text = `attempt ${this.number} took longer than ${limit.timeoutMs} ms`;
      this.stop(limit.isCallsOwn ? new Expired() : new ConnectError(text, Code.DeadlineExceeded));
    }
  }

  /** A server that was killed may hand out the request again: stores at once that it runs. */
  announceSoon(): void {
    if (this.announceAt < never) {
      this.announceAt = 0;
    }
  }

  private stop(reason: unknown): void {
    // First: a listener of the signal may stop it for another reason.
    this.steps.stop(reason);
    this.context?.abort(
      reason instanceof LostClaim || reason instanceof Expired ? reason.toConnectError() : reason,
    );
  }

  /** Also called by a timer. */
  publishProgress(report: CheckedReport): void {
    this.link.guard(() => this.storeProgress(report));
  }

  private storeProgress(report: CheckedReport): void {
    const { link, method, running } = this;
    if (!link.connected) {
      return;
    }
    storeProgress(link, method, running.call, this.number, report).catch((error) => {
      if (!this.hasLostProgress) {
        this.hasLostProgress = true;
        this.reporter.log("warn", "the progress of a call could not be stored", error);
      }
    });
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
