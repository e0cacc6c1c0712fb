import { Code, ConnectError } from "@jetrpc/runtime";
import { errors } from "@nats-io/nats-core";

/** True when a request failed because nobody listens to its subject. */
function isNoResponders(error: unknown): boolean {
  return (
    error instanceof errors.NoRespondersError ||
    (error instanceof errors.RequestError && error.isNoResponders())
  );
}

/** The error of a request of the NATS client that failed: PermissionDenied or Unavailable. */
export function requestError(subject: string, cause: unknown): ConnectError {
  const isDenied = [cause, (cause as Error).cause].some(
    (each) => each instanceof errors.PermissionViolationError,
  );
  const why = isNoResponders(cause) ? "nobody answers" : String(cause);
  return new ConnectError(
    isDenied ? `these credentials may not publish on ${subject}` : `${subject}: ${why}`,
    isDenied ? Code.PermissionDenied : Code.Unavailable,
    undefined,
    undefined,
    cause,
  );
}
