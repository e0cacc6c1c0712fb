import {
  type Call,
  Code,
  type ConnectError,
  type MessagesOptions,
  type WaitOptions,
} from "@jetrpc/runtime";
import { type CallSnapshot, type FollowedState, isEnd, loading } from "./call-snapshot.js";
import { SharedWait } from "./shared-wait.js";

/** What a component wants to know of a call besides its state. */
export interface FollowOptions {
  /**
   * The messages of a streamed response, or the result of a unary call. False for a list that
   * shows only how far its calls are. Default: true.
   */
  messages?: boolean | undefined;
  /**
   * Each report of progress as it comes. False where `progress` as of the last look at the call
   * is enough: that keeps no stream open. Default: true.
   */
  progress?: boolean | undefined;
}

/** A durable call of either kind. */
export interface AnyCall<M> extends Call {
  result?(options?: WaitOptions): Promise<M>;
  messages?(options?: MessagesOptions): AsyncIterable<M>;
}

/** Changes are shown together, once in so many ms: a display shows no more frames. */
const frameMs = 16;

/** Wait before the state is asked for when nothing was heard, in ms: doubled each time. */
const firstLookMs = 1_000;
const lastLookMs = 30_000;
/** The longest one where only looking tells of the end. */
const lastLookAloneMs = 4_000;

/** Codes with which a call cannot be followed now, and may be the next time. */
const passing: ReadonlySet<Code> = new Set([
  Code.Unavailable,
  Code.DeadlineExceeded,
  Code.ResourceExhausted,
  Code.Aborted,
]);

/** States that a call leaves when something new of it is heard. */
const stillStates: ReadonlySet<FollowedState> = new Set([
  "queued",
  "retrying",
  "scheduled",
  "unknown",
]);

/** Follows one call for all components that look at it. */
export class CallStore<M> {
  snapshot: CallSnapshot<M> = loading;
  private readonly listeners = new Set<() => void>();
  /** All that were read; a snapshot has a copy, made once a frame. */
  private readonly messages: M[] = [];
  private changes: Partial<CallSnapshot<M>> = {};
  private frame: ReturnType<typeof setTimeout> | undefined;
  private lookMs = firstLookMs;
  private hasHeard = false;
  /** How often something new was heard. */
  private news = 0;

  private readonly reading = new SharedWait((signal) => this.read(signal));
  private readonly reports = new SharedWait((signal) => this.report(signal));
  private readonly looks = new SharedWait((signal) => this.keepLooking(signal));

  constructor(private readonly call: AnyCall<M>) {}

  /** Follows the call for a component, until the returned function is called. */
  add(listener: () => void, { messages = true, progress = true }: FollowOptions): () => void {
    // Each component adds its own, though React may give the same function twice.
    const notify = () => listener();
    const wanted = [this.looks];
    if (messages) {
      wanted.push(this.reading);
    }
    if (progress) {
      wanted.push(this.reports);
    }
    this.listeners.add(notify);
    for (const wait of wanted) {
      wait.use();
    }
    return () => {
      this.listeners.delete(notify);
      for (const wait of wanted) {
        wait.leave();
      }
    };
  }

  get isUsed(): boolean {
    return this.listeners.size > 0;
  }

  /** Looks how far the call is. */
  async look(signal?: AbortSignal): Promise<void> {
    const { news } = this;
    try {
      const status = await this.call.status({ signal });
      if (this.hasEnded || signal?.aborted) {
        return;
      }
      const { progress, error } = status;
      // What was heard while the answer was on its way is newer than a call that waits.
      const isOlder = this.news > news && stillStates.has(status.state);
      const state = isOlder ? "running" : status.state;
      this.change({
        state,
        status,
        ...(progress && { progress }),
        // The error that is read has its details.
        error: isEnd(state) ? (error ?? this.known("error")) : undefined,
      });
    } catch (thrown) {
      const error = thrown as ConnectError;
      // Waits tell for sure.
      const isAlone = !this.reading.isRunning && !this.reports.isRunning;
      if (isAlone && !this.hasEnded && !signal?.aborted && !passing.has(error.code)) {
        this.giveUp(error);
      }
    }
  }

  /** Looks at once, and then whenever nothing was heard for some time, until the call ends. */
  private async keepLooking(signal: AbortSignal): Promise<boolean> {
    await this.look(signal);
    while (!this.hasEnded && !signal.aborted) {
      const isAlone = !this.reading.isRunning && !this.reports.isRunning;
      await pause(Math.min(this.lookMs, isAlone ? lastLookAloneMs : lastLookMs), signal);
      if (this.hasHeard && this.reports.isRunning) {
        this.hasHeard = false;
        this.lookMs = firstLookMs;
      } else if (!this.hasEnded && !signal.aborted) {
        this.lookMs *= 2;
        await this.look(signal);
      }
    }
    return this.hasEnded;
  }

  private async read(signal: AbortSignal): Promise<boolean> {
    for (;;) {
      const isDone = await this.readOnce(signal);
      if (isDone || signal.aborted) {
        return isDone;
      }
      await pause(lastLookAloneMs, signal);
    }
  }

  /** Reads to the end of the call. False when it could not be followed so far. */
  private async readOnce(signal: AbortSignal): Promise<boolean> {
    const { call } = this;
    try {
      if (call.result) {
        const result = await call.result({ signal });
        this.change({ state: "succeeded", result, error: undefined, isRead: true });
        return true;
      }
      const from = this.messages.length;
      for await (const message of call.messages?.({ from, signal }) ?? []) {
        if (signal.aborted) {
          return false;
        }
        this.messages.push(message);
        this.heard(this.messages.length > (this.known("status")?.messages ?? 0));
      }
      this.change({ state: "succeeded", error: undefined, isRead: true });
      return true;
    } catch (error) {
      return !signal.aborted && (await this.endWith(error as ConnectError, signal));
    }
  }

  private async report(signal: AbortSignal): Promise<boolean> {
    while (!signal.aborted && !(await this.reportOnce(signal))) {
      await pause(lastLookAloneMs, signal);
    }
    return !signal.aborted;
  }

  /** Reads reports until the call ends. False when it could not be followed so far. */
  private async reportOnce(signal: AbortSignal): Promise<boolean> {
    try {
      for await (const progress of this.call.progress({ signal })) {
        if (signal.aborted) {
          return false;
        }
        const last = this.known("progress");
        const isNew = last?.done !== progress.done || last?.message !== progress.message;
        this.change({ progress });
        this.heard(isNew);
      }
    } catch (error) {
      // Whatever it is, who reads the call is told it as well, and so is a look.
      if (passing.has((error as ConnectError).code)) {
        return false;
      }
    }
    if (!signal.aborted && !this.reading.isWanted) {
      await this.look(signal);
    }
    return true;
  }

  /** A call of which something new is heard runs. */
  private heard(isNew: boolean): void {
    const state = this.known("state");
    this.hasHeard ||= isNew;
    this.news += isNew ? 1 : 0;
    const isWaiting = stillStates.has(state);
    this.change(isNew && isWaiting ? { state: "running", error: undefined } : {});
  }

  /** Tells the end of the call from a wait that has failed: both throw. False for a wait that is made again. */
  private async endWith(error: ConnectError, signal: AbortSignal): Promise<boolean> {
    try {
      const status = await this.call.status({ signal });
      const { state } = status;
      if (isEnd(state) && state !== "succeeded") {
        this.change({ state, status, error, isRead: true });
        return true;
      }
    } catch {}
    const isLost = passing.has(error.code);
    if (!signal.aborted) {
      this.giveUp(error, isLost);
    }
    return !signal.aborted && !isLost;
  }

  private giveUp(error: ConnectError, isForNow = false): void {
    this.change({ state: "unknown", error, isRead: !isForNow });
  }

  /** What is known, whether it is shown yet or not. */
  private known<K extends keyof CallSnapshot<M>>(key: K): CallSnapshot<M>[K] {
    return (key in this.changes ? this.changes : this.snapshot)[key] as CallSnapshot<M>[K];
  }

  private get hasEnded(): boolean {
    const state = this.known("state");
    return isEnd(state) || (state === "unknown" && this.known("isRead"));
  }

  private change(changes: Partial<CallSnapshot<M>>): void {
    Object.assign(this.changes, changes);
    this.frame ??= setTimeout(() => this.show(), frameMs);
  }

  private show(): void {
    const { messages } = this.snapshot;
    this.frame = undefined;
    this.snapshot = {
      ...this.snapshot,
      ...this.changes,
      messages: messages.length === this.messages.length ? messages : this.messages.slice(),
    };
    this.changes = {};
    for (const listener of this.listeners) {
      listener();
    }
  }
}

/** Waits for some ms, or until the signal fires. */
function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const end = () => {
      clearTimeout(timer);
      signal.removeEventListener("abort", end);
      resolve();
    };
    const timer = setTimeout(end, ms);
    signal.addEventListener("abort", end);
  });
}
