import type { MethodBinding } from "../schema/binding.js";
import { type FoundCall, lagMs } from "./found-call.js";

/**
 * A part of a call that is gone: what was read of its `log`, or its `request`. `unsure`: it
 * looks so, and may be a server that lags behind the rest of a cluster.
 */
export type MissingPart = "log" | "request" | "unsure";

/** Notices when a part of a call is gone, and stays gone. */
export class MissingParts {
  /** Since when what the server has of the call does not add up, in ms since 1970. */
  private oddSince: number | undefined;

  constructor(private readonly method: MethodBinding) {}

  /** Tells what is gone of a call whose log was read up to a sequence; undefined for nothing. */
  check(found: FoundCall, sequence: number): MissingPart | undefined {
    const { last, request } = found;
    const isCut = (last?.sequence ?? 0) < sequence;
    const isOrphan = last !== undefined && last.kind !== "end" && !request;
    if (!isCut && !isOrphan) {
      this.oddSince = undefined;
      return undefined;
    }
    this.oddSince ??= Date.now();
    const oddMs = Date.now() - this.oddSince;
    if (oddMs < lagMs) {
      return "unsure";
    }
    if (isCut) {
      return "log";
    }
    return oddMs > (isRunning(found) ? this.attemptMs : 0) ? "request" : undefined;
  }

  /** How long an attempt without its request may run, in ms. */
  private get attemptMs(): number {
    const { timeoutMs, ackWaitMs } = this.method;
    return timeoutMs > 0 ? timeoutMs + ackWaitMs : Number.POSITIVE_INFINITY;
  }
}

/** True when an attempt was made and is not known to have ended. */
export function isRunning({ last }: FoundCall): boolean {
  return last?.kind === "attempt" || last?.kind === "message";
}
