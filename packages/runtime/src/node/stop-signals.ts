import type { LogRecord } from "../worker/logger.js";

/** Exit code of a process that Ctrl-C has ended. */
const exitCode = 130;

/** npm hands Ctrl-C on to a process that has it from the terminal already: that counts as one, in ms. */
const sameMs = 500;

/** Something that a signal stops. */
export interface Stoppable {
  /** Calls that run. */
  readonly running: number;
  stop(): void;
  log(record: LogRecord): void;
}

/** All that each signal stops: a process listens once, however many workers it has. */
const stoppables = new Map<NodeJS.Signals, Set<Stoppable>>();
/** Those that were told to stop, and have not ended. */
const stopping = new Set<Stoppable>();
let stoppedAt = 0;

/**
 * Stops something on the first of these signals. A second SIGINT ends the process at once.
 * Until the returned function is called.
 */
export function stopOn(signals: readonly NodeJS.Signals[], stoppable: Stoppable): () => void {
  for (const signal of signals) {
    const others = stoppables.get(signal);
    if (others) {
      others.add(stoppable);
    } else {
      stoppables.set(signal, new Set([stoppable]));
      process.on(signal, onSignal);
    }
  }
  return () => {
    stopping.delete(stoppable);
    for (const signal of signals) {
      const all = stoppables.get(signal);
      all?.delete(stoppable);
      if (all?.size === 0) {
        stoppables.delete(signal);
        process.off(signal, onSignal);
      }
    }
  };
}

function onSignal(signal: NodeJS.Signals): void {
  const fresh = [...(stoppables.get(signal) ?? [])].filter((each) => !stopping.has(each));
  if (fresh.length === 0) {
    if (signal === "SIGINT" && performance.now() - stoppedAt > sameMs) {
      process.exit(exitCode);
    }
    return;
  }
  stoppedAt = performance.now();
  const running = fresh.reduce((sum, each) => sum + each.running, 0);
  if (running > 0) {
    const calls = running === 1 ? "1 call" : `${running} calls`;
    const message = `finishing ${calls}${signal === "SIGINT" ? "; again to stop now" : ""}`;
    // Workers that share a logger say it once.
    for (const log of new Set(fresh.map((each) => each.log))) {
      log({ level: "info", message });
    }
  }
  for (const each of fresh) {
    stopping.add(each);
    each.stop();
  }
}
