import { Code, ConnectError } from "@connectrpc/connect";
import { connectionLost, lossOf } from "./connection-lost.js";
import type { Reach } from "./reach.js";
import { onWake } from "./wake.js";

/** Longest pause between two attempts, in ms, and the first one. */
const longestPauseMs = 10_000;
const firstPauseMs = 100;

/**
 * How long an attempt may be silent, in ms, before it is made anew: a connection that nobody
 * has closed, of a laptop that slept, is silent for ever.
 */
const defaultSilenceMs = 60_000;

/** The same when there is a sign that the connection may be a dead one. */
const defaultSuspectMs = 2_000;

/** How long a gateway may say that it is unavailable before it is believed, in ms. */
const patienceMs = 30_000;

/** How long a gateway that never answered is tried, in ms: it may just be starting. */
const firstPatienceMs = 5_000;

/** How attempts are repeated. */
export interface Persistence {
  /** Ends them, with the reason. */
  readonly signal: AbortSignal;
  /**
   * Given where a gateway answers at once: who never did, and is silent, is none that can be
   * reached. Default: silence is patience, as of a call that takes its time.
   */
  readonly reach?: Reach | undefined;
  /**
   * Decides whether an error that the gateway sent is passed on, though the code is Unavailable.
   * Default: after 30 s.
   */
  readonly isFinal?: ((error: ConnectError) => Promise<boolean>) | undefined;
  /** How long an attempt may be silent, in ms. Default: a minute. */
  readonly silenceMs?: number | undefined;
  /** The same when there is a sign that the connection may be a dead one. Default: 2 s. */
  readonly suspectMs?: number | undefined;
}

/**
 * What attempts give, through lost connections, and gateways that stop and start: whoever makes
 * them goes on where the last one ended. Throws errors that come for another reason, the
 * reason of the signal, and Unavailable when there has never been a gateway.
 */
export async function* attempts<T>(
  open: (signal: AbortSignal, count: number) => AsyncIterable<T>,
  {
    signal,
    reach,
    isFinal,
    silenceMs = defaultSilenceMs,
    suspectMs = defaultSuspectMs,
  }: Persistence,
): AsyncGenerator<T, void, undefined> {
  const beganAt = Date.now();
  let refusedSince: number | undefined;
  const isBelieved = async () => {
    refusedSince ??= Date.now();
    return Date.now() - refusedSince >= patienceMs;
  };
  for (let count = 0, failures = 0; ; count++) {
    signal.throwIfAborted();
    const attempt = new Attempt(signal, silenceMs, suspectMs);
    try {
      for await (const item of open(attempt.signal, count)) {
        attempt.hasGiven = true;
        refusedSince = undefined;
        attempt.rest();
        yield item;
        attempt.listen();
      }
      return;
    } catch (thrown) {
      signal.throwIfAborted();
      const error = ConnectError.from(thrown);
      if (attempt.isGivenUp) {
        if (attempt.wasSilent && reach?.isInVain && !isOffline()) {
          throw connectionLost(reach.url, error, false);
        }
        continue;
      }
      const loss = lossOf(error);
      if (loss && !loss.isReached) {
        if (loss.isStrange || (!isOffline() && Date.now() - beganAt >= firstPatienceMs)) {
          throw error;
        }
      } else if (loss?.isStrange) {
        if (await isBelieved()) {
          throw error;
        }
      } else if (!loss && !isCut(error)) {
        if (!mayPass(error) || (await (isFinal ?? isBelieved)(error))) {
          throw error;
        }
      }
      // One that ends as soon as it has begun, time and again, is not hurried after.
      if (attempt.hasGiven && attempt.ageMs >= longestPause(failures - 1)) {
        failures = 0;
      }
      await pause(failures++, error, signal);
    } finally {
      attempt.end();
    }
  }
}

/** The same for an attempt that gives one thing. */
export async function attempt<T>(
  call: (signal: AbortSignal, count: number) => Promise<T>,
  persistence: Persistence,
): Promise<T> {
  const open = async function* (signal: AbortSignal, count: number) {
    yield await call(signal, count);
  };
  for await (const result of attempts(open, persistence)) {
    return result;
  }
  throw new ConnectError("an attempt gave nothing", Code.Internal);
}

/** True when a part of an answer came, and its end as if it were whole: some proxies do so. */
function isCut({ rawMessage }: ConnectError): boolean {
  return cuts.has(rawMessage);
}

/** What Connect says then. */
const cuts: ReadonlySet<string> = new Set([
  "missing EndStreamResponse",
  "protocol error: incomplete envelope",
]);

/** True when the browser knows that it reaches nobody. */
function isOffline(): boolean {
  const { navigator } = globalThis as { navigator?: { readonly onLine?: boolean } };
  return navigator?.onLine === false;
}

/** True when the gateway says that it may be otherwise a moment later. */
function mayPass({ code, metadata }: ConnectError): boolean {
  return code === Code.Unavailable || metadata.has("retry-after");
}

/** Waits before a further attempt, longer each time, and no longer than until something wakes it. */
function pause(failures: number, { metadata }: ConnectError, signal: AbortSignal): Promise<void> {
  const asked = Number(metadata.get("retry-after") ?? 0) * 1_000 || 0;
  const ms = Math.max(asked, longestPause(failures) * (0.5 + 0.5 * Math.random()));
  return new Promise((resolve) => {
    const go = () => {
      clearTimeout(timer);
      stopListening();
      signal.removeEventListener("abort", go);
      resolve();
    };
    const timer = setTimeout(go, ms);
    const stopListening = onWake(go);
    signal.addEventListener("abort", go);
  });
}

/** The longest pause after so many failures, in ms. */
function longestPause(failures: number): number {
  return Math.min(firstPauseMs * 2 ** failures, longestPauseMs);
}

/** One attempt, which is given up when it is silent for too long. */
class Attempt {
  isGivenUp = false;
  /** True when it was given up because of its silence alone. */
  wasSilent = false;
  hasGiven = false;
  private readonly beganAt = Date.now();
  private readonly controller = new AbortController();
  private readonly stopListening: () => void;
  private timer: ReturnType<typeof setTimeout> | undefined;
  private heardAt = 0;

  constructor(
    private readonly outer: AbortSignal,
    private readonly silenceMs: number,
    suspectMs: number,
  ) {
    outer.addEventListener("abort", this.abort);
    this.stopListening = onWake(() => {
      if (Date.now() - this.heardAt > suspectMs) {
        this.giveUp();
      }
    });
    this.listen();
  }

  get signal(): AbortSignal {
    return this.controller.signal;
  }

  get ageMs(): number {
    return Date.now() - this.beganAt;
  }

  /** The reader waits for more. */
  listen(): void {
    this.heardAt = Date.now();
    this.timer = setTimeout(() => {
      this.wasSilent = true;
      this.giveUp();
    }, this.silenceMs);
  }

  /** The reader has something to do. */
  rest(): void {
    clearTimeout(this.timer);
  }

  end(): void {
    clearTimeout(this.timer);
    this.stopListening();
    this.outer.removeEventListener("abort", this.abort);
    // Ends a request that is still read.
    this.controller.abort(new ConnectError("the reader has left", Code.Canceled));
  }

  private giveUp(): void {
    this.isGivenUp = true;
    this.controller.abort(new ConnectError("the connection was silent", Code.Unavailable));
  }

  private readonly abort = (): void => this.controller.abort(this.outer.reason);
}
