import type { DescMessage, MessageInitShape } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";
import { isMalformed } from "../ledger/log.js";
import { LostClaim } from "../ledger/log-writer.js";
import { storeProgress } from "../ledger/progress.js";
import type { ResponseEntry, RunningCall } from "../ledger/running.js";
import type { Withdrawal } from "../ledger/stored-request.js";
import type { Link } from "../link/link.js";
import { checkSize, decodeRequest } from "../message/codec.js";
import { encodingOf } from "../message/encoding.js";
import { bindBlobs } from "../objects/blob.js";
import type { MethodBinding } from "../schema/binding.js";
import { requestSpace } from "../schema/object-name.js";
import { type Attempt, AttemptContext, type CheckedReport } from "./attempt-context.js";
import { AttemptReporter } from "./attempt-report.js";
import { type AttemptResult, Expired, shutdown } from "./attempt-verdict.js";
import { toCallerError } from "./caller-error.js";
import { ResponseWriter } from "./response-writer.js";
import type { ServedMethod } from "./served-method.js";
import { Steps } from "./steps.js";

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
export class DurableAttempt implements Attempt {
  private readonly method: MethodBinding;
  private readonly steps = new Steps(() => this.checkTime(performance.now()));
  private readonly responses: ResponseWriter;
  private readonly reporter: AttemptReporter;
  private context: AttemptContext | undefined;
  /** When to store that it runs, by performance.now(); `never` before it does, and after its entry. */
  private announceAt = never;
  private limit: TimeLimit | undefined;
  /** The response header is stored: with the first message. */
  private isHeaderStored = false;
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
    this.responses = new ResponseWriter(link, method, running, this.steps, settings.limits, signal);
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
      hasSucceeded = await this.report(await this.result());
    } finally {
      stats.ended(beganAt);
      this.context?.finish();
    }
    await this.running.removeLeftovers(this.responses.objects, hasSucceeded);
  }

  private async endWithdrawn(withdrawal: Withdrawal): Promise<void> {
    try {
      await this.running.endWithdrawn(withdrawal);
    } catch (error) {
      if (error instanceof LostClaim || isMalformed(error)) {
        await this.report({ kind: "threw", thrown: error });
      } else {
        this.reporter.log("error", "the end of a withdrawn call could not be stored", error);
      }
    }
  }

  private async result(): Promise<AttemptResult> {
    try {
      return { kind: "answered", response: await this.answer() };
    } catch (thrown) {
      return { kind: "threw", thrown: isReadable(thrown) ? thrown : toCallerError(thrown, false) };
    }
  }

  /** Does what follows from the result; true when the call has its response. */
  private report(result: AttemptResult): Promise<boolean> {
    // No announcement any more: the next entry says that it ran.
    this.announceAt = never;
    return this.reporter.report(result, {
      context: this.context,
      isHeaderStored: this.isHeaderStored,
    });
  }

  /** Claims the call, and runs its handler. */
  private async answer(): Promise<ResponseEntry> {
    const { link, method, running } = this;
    const { request } = running;
    // Most requests need no claim: then there is no look at the log.
    const resumeFrom = running.needsClaim ? await running.claim() : 0;
    const { timeoutMs, isCallsOwn, isCallers } = this.timeLeft();
    const { limits } = this.served.settings;
    const space = requestSpace(method, running.call);
    const bytes = request.isObject
      ? await link.payloads.load(method.service, request, space, limits.readMaxBytes)
      : request.data;
    checkSize(method.desc.input, bytes, limits, "readMaxBytes");
    const message = decodeRequest(method.desc, bytes, encodingOf(request.contentType));
    bindBlobs(link, method.service, space, method.desc.input, message);
    const context = new AttemptContext(
      method,
      request.message,
      timeoutMs,
      isCallers,
      this,
      resumeFrom,
    );
    this.context = context;
    const now = performance.now();
    this.announceAt = now + announceAfterMs;
    if (timeoutMs > 0) {
      this.limit = { endsAt: now + timeoutMs, timeoutMs, isCallsOwn };
    }
    return method.desc.methodKind === "unary"
      ? await this.runUnary(message, context)
      : await this.runStream(message, context, resumeFrom);
  }

  /** Time for this attempt, 0 for no limit. Throws when the call's own time is over. */
  private timeLeft(): TimeLeft {
    const { timeoutMs } = this.method;
    const { request } = this.running;
    const callMs = request.timeoutMs;
    if (!callMs) {
      return { timeoutMs, isCallsOwn: false, isCallers: false };
    }
    const left = callMs - (Date.now() - request.acceptedAtMs);
    if (left <= 0) {
      throw new Expired();
    }
    return timeoutMs > 0 && timeoutMs < left
      ? { timeoutMs, isCallsOwn: false, isCallers: true }
      : { timeoutMs: left, isCallsOwn: true, isCallers: true };
  }

  private async runUnary(message: unknown, context: AttemptContext): Promise<ResponseEntry> {
    const response = await this.steps.run(() => this.served.handler(message, context));
    return this.responses.entry(response, () => context.responseMetadata(this.link.maxPayload));
  }

  private async runStream(
    message: unknown,
    context: AttemptContext,
    resumeFrom: number,
  ): Promise<ResponseEntry> {
    const { maxPayload } = this.link;
    let toSkip = this.method.resume === "replay" ? resumeFrom : 0;
    this.isHeaderStored = resumeFrom > 0;
    const iterator = this.startStream(message, context);
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

  private startStream(
    message: unknown,
    context: AttemptContext,
  ): AsyncIterator<MessageInitShape<DescMessage>> {
    const stream = this.served.handler(message, context) as AsyncIterable<
      MessageInitShape<DescMessage>
    >;
    return stream[Symbol.asyncIterator]();
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
