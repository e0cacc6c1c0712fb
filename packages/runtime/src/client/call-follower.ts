import { Code, ConnectError } from "@connectrpc/connect";
import type { Msg } from "@nats-io/nats-core";
import type { MethodBinding } from "../wire/binding.js";
import type { CallName } from "../wire/call-id.js";
import { CallState, type Entry, entrySubject, parseEntry } from "../wire/call-log.js";
import { deadlineOf, findKnownCall, notFound } from "../wire/call-search.js";
import { refuseOtherDomainOnce } from "../wire/domain.js";
import { Header, wholeNumber } from "../wire/header.js";
import { getLast } from "../wire/jetstream.js";
import type { Link } from "../wire/link.js";
import { readLog } from "../wire/log-reader.js";
import { endCall } from "./end-call.js";
import type { LiveRouter } from "./live-router.js";

/**
 * Bytes of live entries that wait for their reader. What comes above it is
 * dropped and read from the log later: the log is the buffer of slow readers.
 */
const bufferLimit = 8 * 1024 * 1024;

/** Wait before the log is looked at although nothing was heard, in ms: doubled each time. */
const firstPollMs = 1_000;
const lastPollMs = 30_000;

const never = Number.POSITIVE_INFINITY;

/** What a follower knows of its call when it begins. */
export type FollowFrom =
  /** Made by this client just now: nothing is in its log. */
  | "new"
  /** Submitted before: its log may hold anything. */
  | "submitted"
  /** Known by its id only: it may not exist. */
  | "unknown";

/**
 * Follows the log of one call: what is stored first, then what is accepted
 * live, each entry once and in order, through lost connections.
 */
export class CallFollower {
  private readonly state = new CallState();
  private readonly buffer: Entry[] = [];
  private bufferedBytes = 0;
  /** The log holds entries that were not heard live. */
  private isBehind: boolean;
  private stored: AsyncGenerator<Entry> | undefined;
  private wake: (() => void) | undefined;
  private failure: ConnectError | undefined;
  private isKnown: boolean;
  private cleanups: (() => void)[] | undefined;
  private pollMs = firstPollMs;
  /** When the call's time is over, in ms since 1970; undefined when that is not known. */
  private deadline: number | undefined;

  constructor(
    private readonly link: Link,
    private readonly live: LiveRouter,
    private readonly method: MethodBinding,
    private readonly call: CallName,
    from: FollowFrom,
    /** Reads no more of the log than its end. */
    private readonly endOnly = method.desc.methodKind === "unary",
  ) {
    this.isBehind = from !== "new";
    this.isKnown = from !== "unknown";
  }

  /** Begins to listen. Called by next(); earlier for a call that is yet to be submitted. */
  start(): void {
    this.cleanups ??= [
      this.live.listen(this.method, this.call, (message) => this.hear(message)),
      this.link.onReconnect(() => {
        this.isBehind = true;
        this.wake?.();
      }),
    ];
  }

  /** Ends what waits in next(), and everything after it, with an error. */
  stop(error: ConnectError): void {
    this.failure ??= error;
    this.close();
    this.wake?.();
  }

  /** Stops listening. */
  close(): void {
    for (const cleanup of this.cleanups ?? []) {
      cleanup();
    }
    this.cleanups = [];
    void this.stored?.return(undefined);
  }

  /**
   * The next message of the response, or the end of the call.
   * Errors: NotFound when there is no such call; FailedPrecondition when its streams are in
   * another JetStream domain; what stop() was given.
   */
  async next(): Promise<Entry> {
    this.start();
    for (;;) {
      if (this.failure) {
        throw this.failure;
      }
      const entry = this.buffer.shift() ?? (this.isBehind ? await this.readStored() : undefined);
      if (!entry) {
        await this.waitForEntry();
        continue;
      }
      this.bufferedBytes -= entry.message.data.length;
      if (entry.kind === "end") {
        this.close();
      }
      if (entry.kind === "end" || entry.kind === "message") {
        return entry;
      }
    }
  }

  private hear(message: Msg): void {
    if (!message.subject.endsWith(".entry")) {
      return;
    }
    if (this.isBehind) {
      return;
    }
    const entry = this.readLive(message);
    if (entry) {
      this.accept(entry);
    } else {
      this.isBehind = true;
      this.wake?.();
    }
  }

  /** Undefined for what is to be read from the log, which is where it counts. */
  private readLive(message: Msg): Entry | undefined {
    const before = wholeNumber(message.headers?.last(Header.lastSequence));
    if (before === undefined || before > this.state.sequence || this.bufferedBytes > bufferLimit) {
      return undefined;
    }
    try {
      return parseEntry(message);
    } catch {
      return undefined;
    }
  }

  private accept(entry: Entry): void {
    if (this.state.apply(entry)) {
      this.buffer.push(entry);
      this.bufferedBytes += entry.message.data.length;
      this.wake?.();
    }
  }

  /** Reads on in the log until an entry counts; undefined when its end is reached. */
  private async readStored(): Promise<Entry | undefined> {
    try {
      if (!this.isKnown) {
        await refuseOtherDomainOnce(this.link, this.method);
      }
      if (this.endOnly) {
        return await this.readEnd();
      }
      this.stored ??= readLog(this.link, this.method.service, {
        subject: entrySubject(this.method, this.call),
        from: this.state.sequence && this.state.sequence + 1,
      });
      for (;;) {
        const { value, done } = await this.stored.next();
        if (done) {
          this.stored = undefined;
          await this.caughtUp();
          return undefined;
        }
        if (this.state.apply(value)) {
          this.bufferedBytes += value.message.data.length;
          return value;
        }
      }
    } catch (error) {
      this.stored = undefined;
      await this.waitAfter(error);
      return undefined;
    }
  }

  /** The last entry tells whether the call has ended, and is cheap to get. */
  private async readEnd(): Promise<Entry | undefined> {
    const subject = entrySubject(this.method, this.call);
    this.isBehind = false;
    const last = await getLast(this.link, this.method.service.logStream, subject).catch((error) => {
      this.isBehind = true;
      throw error;
    });
    const entry = last && parseEntry(last);
    if (!entry) {
      await this.caughtUp();
      return undefined;
    }
    this.isKnown = true;
    if (this.state.apply(entry) && entry.kind === "end") {
      this.bufferedBytes += entry.message.data.length;
      return entry;
    }
    return undefined;
  }

  /** The log is read to its end; entries accepted meanwhile show up as a gap or by the poll. */
  private async caughtUp(): Promise<void> {
    this.isBehind = false;
    if (this.state.sequence > 0 || this.isKnown) {
      this.isKnown = true;
      await this.checkForMissed();
      return;
    }
    if (!(await this.search())) {
      this.stop(notFound(this.method, this.call));
      return;
    }
    await this.checkForMissed();
  }

  /** Looks for the call, and for its deadline. False when there is no such call. */
  private async search(): Promise<boolean> {
    const found = await findKnownCall(this.link, this.method, this.call);
    if (!found) {
      return false;
    }
    this.isKnown = true;
    this.deadline = deadlineOf(found) ?? (found.isScheduled ? undefined : never);
    return true;
  }

  /** Ends the call when its time is over and no worker is there to do it. */
  private async expire(): Promise<void> {
    this.deadline = never;
    await endCall(this.link, this.method, this.call, "expired");
    this.isBehind = true;
  }

  /** Looks whether the log holds more than was read or heard. */
  private async checkForMissed(): Promise<void> {
    const subject = entrySubject(this.method, this.call);
    const last = await getLast(this.link, this.method.service.logStream, subject);
    const sequence = Number(last?.headers?.get(Header.sequence) ?? 0);
    if (sequence > this.state.sequence) {
      this.isBehind = true;
    }
  }

  private async waitForEntry(): Promise<void> {
    if (this.isBehind || this.buffer.length > 0 || this.failure) {
      return;
    }
    const left = (this.deadline ?? never) - Date.now();
    const heard = await this.sleep(Math.max(0, Math.min(this.pollMs, left)));
    if (heard || this.failure) {
      this.pollMs = firstPollMs;
      return;
    }
    try {
      if (this.deadline !== undefined && Date.now() >= this.deadline) {
        await this.expire();
        return;
      }
      this.pollMs = Math.min(this.pollMs * 2, lastPollMs);
      if (this.deadline === undefined) {
        await this.search();
      }
      await this.checkForMissed();
    } catch (error) {
      await this.waitAfter(error);
    }
  }

  /** A failed look at the log is repeated, unless waiting does not help. */
  private async waitAfter(error: unknown): Promise<void> {
    const failure = ConnectError.from(error);
    const { code } = failure;
    const isFinal =
      code === Code.PermissionDenied || code === Code.DataLoss || code === Code.FailedPrecondition;
    if (isFinal || this.link.nats.isClosed()) {
      this.stop(failure);
      return;
    }
    await this.sleep(this.link.connected ? 250 : firstPollMs);
  }

  /** True when something woke it before the time was over. */
  private sleep(ms: number): Promise<boolean> {
    return new Promise((resolve) => {
      const done = (heard: boolean) => {
        clearTimeout(timer);
        this.wake = undefined;
        resolve(heard);
      };
      const timer = setTimeout(done, ms, false);
      this.wake = () => done(true);
    });
  }
}
