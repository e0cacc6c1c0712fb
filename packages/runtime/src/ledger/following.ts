import { Code, ConnectError } from "@connectrpc/connect";
import { refuseOtherDomainOnce } from "../link/domain.js";
import type { Link } from "../link/link.js";
import { mayRepeat } from "../link/until.js";
import type { MethodBinding } from "../schema/binding.js";
import type { CallName } from "../schema/call-id.js";
import { entrySubjectOf } from "../schema/call-subjects.js";
import { endCall } from "./ending.js";
import {
  deadlineOf,
  type FoundCall,
  findKnownCall,
  goneError,
  lostError,
  notFound,
} from "./found-call.js";
import { LiveBuffer } from "./live-buffer.js";
import type { LiveListener, LiveRouter } from "./live-router.js";
import { CallState, type Entry, lastEntry } from "./log.js";
import { isRunning, MissingParts } from "./missing-parts.js";
import { LogReader, type SharedLogs } from "./shared-log.js";
import { Wait } from "./wait.js";

/** Wait before the log is looked at although nothing was heard, in ms: doubled each time. */
const firstPollMs = 1_000;
const lastPollMs = 30_000;

/** The same when a look has failed. */
const firstRetryMs = 250;
const lastRetryMs = 2_000;

const never = Number.POSITIVE_INFINITY;

/** The knowledge that a follower has of its call when it begins. */
export type FollowFrom =
  /** Made by this client just now: nothing is in its log, and it is not accepted yet. */
  | "new"
  /** Submitted before: its log may hold anything. */
  | "submitted"
  /** Known by its id only: it may not exist. */
  | "unknown";

/** The parts that all followers of a connection share. */
export interface Followed {
  readonly link: Link;
  readonly live: LiveRouter;
  readonly logs: SharedLogs;
  readonly waiting: WaitingListener | undefined;
}

/** Is told of calls that are waited for, and that no worker runs. */
interface WaitingListener {
  /** Somebody has waited since then, in ms since 1970. */
  check(method: MethodBinding, call: CallName, since: number): void;
}

/**
 * Follows the log of one call: what is stored first, then what is accepted
 * live, each entry once and in order, through lost connections. It ends when the call
 * is gone, and with errors that waiting does not mend.
 */
export class CallFollower implements LiveListener {
  private state = new CallState();
  private readonly buffer = new LiveBuffer();
  /** The log is known to hold entries that were neither heard nor read. */
  private isBehind: boolean;
  /** The log may hold such entries: it is time to look. */
  private isInDoubt: boolean;
  private log: LogReader | undefined;
  private readonly wait = new Wait();
  private failure: ConnectError | undefined;
  /** True when the call was there once. */
  private isKnown: boolean;
  private isAccepted: boolean;
  private stopListening: (() => void) | undefined;
  private pollMs = firstPollMs;
  private retryMs = firstRetryMs;
  /** When the call's time is over, in ms since 1970; undefined when that is not known. */
  private deadline: number | undefined;
  private parts: MissingParts | undefined;
  private beganAt = 0;

  constructor(
    private readonly followed: Followed,
    private readonly method: MethodBinding,
    private readonly call: CallName,
    from: FollowFrom,
    /** Reads no more of the log than its end. */
    private readonly endOnly = method.desc.methodKind === "unary",
  ) {
    this.isKnown = from !== "unknown";
    this.isAccepted = from !== "new";
    this.isBehind = from === "unknown" && !endOnly;
    this.isInDoubt = from !== "new" && !this.isBehind;
  }

  /** Begins to listen. Called by next(); earlier for a call that is yet to be submitted. */
  start(): void {
    if (!this.stopListening) {
      this.beganAt = Date.now();
      this.stopListening = this.followed.live.listen(this.method, this.call, this);
    }
  }

  /** Looks at the log again: nothing was heard while the connection was lost. */
  reconnected(): void {
    this.isInDoubt = true;
    this.pollMs = firstPollMs;
    this.wait.ring();
  }

  /** A second has passed. */
  beat(now: number): void {
    this.wait.beat(now);
  }

  /** The server has stored the call: from now on it is missed when it is not there. */
  accepted(): void {
    this.isAccepted = true;
  }

  /** Ends what waits in next(), and everything after it, with an error. */
  stop(error: ConnectError): void {
    this.failure ??= error;
    this.close();
    this.wait.ring();
  }

  /** Stops listening. */
  close(): void {
    this.stopListening?.();
    this.stopListening = () => undefined;
    this.log?.leave();
  }

  /**
   * The next message of the response, or the end of the call.
   * Errors: NotFound when there is no such call, or none any more; DataLoss when a part
   * of it is gone or cannot be read; FailedPrecondition when its streams are in another
   * JetStream domain; what stop() was given; what waiting does not mend.
   */
  async next(): Promise<Entry> {
    this.start();
    for (;;) {
      if (this.failure) {
        throw this.failure;
      }
      const entry = this.buffer.take() ?? (this.isBehind ? await this.readStored() : undefined);
      if (!entry) {
        await this.waitForEntry();
        continue;
      }
      if (entry.kind === "end") {
        this.close();
      }
      if (entry.kind === "end" || entry.kind === "message") {
        return entry;
      }
    }
  }

  /** Hears an entry that the log has accepted; one that cannot be read is read from the log. */
  entry(entry: Entry | undefined): void {
    if (this.isBehind || this.failure) {
      return;
    }
    const { sequence, messages } = this.state;
    const before = entry?.previous;
    if (!entry || before === undefined) {
      this.isBehind = !this.endOnly;
      this.isInDoubt = this.endOnly;
      this.wait.ring();
    } else if (!this.endOnly && (before > sequence || this.buffer.isFull)) {
      this.isBehind = true;
      this.wait.ring();
    } else if (messages > 0 && before < sequence && sequence < entry.sequence && !entry.outcome) {
      this.stop(this.cutError());
    } else {
      this.accept(entry);
    }
  }

  private accept(entry: Entry): void {
    if (this.state.apply(entry) && (!this.endOnly || entry.kind === "end")) {
      this.buffer.add(entry);
      this.wait.ring();
    }
  }

  /** Reads on in the log until an entry counts; undefined when its end is reached. */
  private async readStored(): Promise<Entry | undefined> {
    const log = this.openLog();
    try {
      for (;;) {
        for (let entry = log.take(); entry; entry = log.take()) {
          if (this.state.apply(entry)) {
            return entry;
          }
        }
        await this.checkDomain();
        if (!(await log.load(this.state.sequence))) {
          // Entries that were accepted meanwhile show up as a gap, or now.
          this.isBehind = false;
          this.isInDoubt = true;
          return undefined;
        }
        if (this.failure) {
          return undefined;
        }
      }
    } catch (error) {
      log.leave();
      await this.waitAfter(error);
      return undefined;
    }
  }

  private openLog(): LogReader {
    const { followed, method, call } = this;
    this.log ??= new LogReader(followed.logs, method.service, entrySubjectOf(method, call));
    return this.log;
  }

  private async waitForEntry(): Promise<void> {
    if (this.isBehind || !this.buffer.isEmpty || this.failure) {
      return;
    }
    try {
      if (this.isInDoubt) {
        this.isInDoubt = false;
        await this.lookAtLog();
      } else if (!(await this.hears())) {
        await this.look();
      }
      this.retryMs = firstRetryMs;
    } catch (error) {
      this.isInDoubt = true;
      await this.waitAfter(error);
    }
  }

  /** Waits until something is heard, or it is time to look. */
  private async hears(): Promise<boolean> {
    const { clock } = this.followed.link;
    const left = this.deadline === undefined ? never : this.deadline - clock.nowMs;
    const { wait, pollMs } = this;
    // forSeconds() may take a second longer.
    const heard = await (left < pollMs + 1_000
      ? wait.for(Math.min(left, pollMs))
      : wait.forSeconds(pollMs));
    this.pollMs = heard ? firstPollMs : Math.min(this.pollMs * 2, lastPollMs);
    return heard || this.failure !== undefined;
  }

  /** Looks whether the log holds more than was read or heard. */
  private async lookAtLog(): Promise<void> {
    await this.checkDomain();
    const last = await lastEntry(this.followed.link, this.method, this.call);
    this.isKnown ||= last !== undefined;
    this.take(last);
    if (!this.isKnown) {
      await this.look();
    }
  }

  /** A call that was never seen may be in streams that this connection does not ask. */
  private async checkDomain(): Promise<void> {
    if (!this.isKnown) {
      await refuseOtherDomainOnce(this.followed.link, this.method);
    }
  }

  private take(last: Entry | undefined): void {
    if (!last || last.sequence <= this.state.sequence) {
      return;
    }
    if (this.endOnly) {
      this.accept(last);
    } else {
      this.isBehind = true;
    }
  }

  /** Looks what the server has of the call, when nothing was heard of it for some time. */
  private async look(): Promise<void> {
    const { link, waiting } = this.followed;
    if (!this.isAccepted) {
      // submit() tells when that fails.
      await this.lookAtLog();
      return;
    }
    if (this.deadline !== undefined && link.clock.nowMs >= this.deadline) {
      await this.expire();
      return;
    }
    const { sequence } = this.state;
    const found = await findKnownCall(link, this.method, this.call);
    if (!found) {
      this.stop((this.isKnown ? goneError : notFound)(this.method, this.call));
      return;
    }
    this.isKnown = true;
    if (found.request) {
      this.deadline = deadlineOf(found) ?? (found.isScheduled ? undefined : never);
    }
    this.take(found.last);
    this.checkParts(found, sequence);
    if (waiting && found.request && !found.isScheduled && !isRunning(found)) {
      waiting.check(this.method, this.call, this.beganAt);
    }
  }

  /** A part of the call may be gone: what was read of its log, or its request. */
  private checkParts(found: FoundCall, sequence: number): void {
    const { method, call, state } = this;
    this.parts ??= new MissingParts(method);
    const missing = this.parts.check(found, sequence);
    if (missing === "unsure") {
      // Soon enough to notice, and not while it is heard of.
      this.pollMs = firstPollMs;
    } else if (missing === "log" && state.messages > 0) {
      this.stop(this.cutError());
    } else if (missing === "log") {
      // Nothing was given to the reader yet: it reads what comes.
      this.state = new CallState();
      this.take(found.last);
    } else if (missing === "request") {
      this.stop(lostError(method, call, "has lost its request, and cannot go on"));
    }
  }

  /** Entries that follow in a log that was emptied may be the ones that were read before. */
  private cutError(): ConnectError {
    return lostError(this.method, this.call, "has lost what was read of its log");
  }

  /** Ends the call when its time is over and no worker is there to do it. */
  private async expire(): Promise<void> {
    await endCall(this.followed.link, this.method, this.call, "expired");
    this.deadline = never;
    this.isInDoubt = true;
  }

  /** A failed look is repeated where waiting may help. */
  private async waitAfter(error: unknown): Promise<void> {
    const { link } = this.followed;
    const failure = ConnectError.from(error);
    // No room for the end of a call may be so for now only.
    const mayPass = mayRepeat(error) || failure.code === Code.ResourceExhausted;
    if (!mayPass || link.nats.isClosed()) {
      this.stop(failure);
      return;
    }
    if (!this.failure) {
      await this.wait.for(this.retryMs);
    }
    this.retryMs = Math.min(this.retryMs * 2, lastRetryMs);
  }
}
