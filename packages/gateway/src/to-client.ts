import { Code, ConnectError } from "@connectrpc/connect";

/** Takes what the gateway has to say, a line each. */
export type Log = (message: string) => void;

/**
 * The error that a client gets. Of one that nobody threw for it, a mistake of the gateway or of
 * `authenticate`, it learns nothing, and the log is told.
 */
export function toClient(error: unknown, log: Log): ConnectError {
  if (error instanceof ConnectError) {
    return error;
  }
  log(`a request failed: ${error instanceof Error ? error.stack : String(error)}`);
  return new ConnectError("internal error", Code.Internal);
}
