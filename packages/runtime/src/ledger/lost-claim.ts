import { Code, type ConnectError } from "@connectrpc/connect";
import { causedError } from "../message/caused-error.js";
import type { Outcome } from "./log.js";

/** The call is not this attempt's any more: it has ended, or a later attempt runs. */
export class LostClaim extends Error {
  /** How the call ended; undefined when another attempt runs it. */
  constructor(readonly outcome: Outcome | undefined) {
    super(lostClaimTexts[outcome ?? "running"]);
  }

  /** The reason that the handler's signal gives. */
  toConnectError(): ConnectError {
    const code = this.outcome === "cancelled" ? Code.Canceled : Code.Aborted;
    return causedError(this.message, code, this);
  }
}

/** A server that crashed came back without what it had confirmed. */
export class LostEntries extends Error {}

const lostClaimTexts = {
  running: "another attempt runs the call",
  cancelled: "the call was canceled",
  expired: "the call did not end within its time",
  succeeded: "another attempt has ended the call",
  failed: "another attempt has ended the call",
} as const;
