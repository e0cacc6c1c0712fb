import { Code, type ConnectError } from "@connectrpc/connect";
import { oneLine } from "../message/text.js";

/** Most bytes of an error text that discovery shows. */
const maxErrorBytes = 256;

/** The counters that a worker has for one method. */
export class MethodStats {
  requests = 0;
  /** Handlers that run. */
  running = 0;
  /** How many may run at once; 0 for no limit. Direct methods of a worker share theirs. */
  slots = 0;
  errors = 0;
  /** Code and text of the last error that a caller was told, the text cut. */
  lastError = "";
  /** Whole time of all handlers that have ended, in ms. */
  processingMs = 0;

  /** A handler begins; the time it returns goes to {@link ended}. */
  began(): number {
    this.requests++;
    this.running++;
    return performance.now();
  }

  ended(beganAt: number): void {
    this.running--;
    this.processingMs += performance.now() - beganAt;
  }

  failed(error: ConnectError): void {
    this.errors++;
    this.lastError = `${Code[error.code]}: ${oneLine(error.rawMessage, maxErrorBytes)}`;
  }
}
