import { Code, ConnectError } from "@connectrpc/connect";
import { errors } from "@nats-io/nats-core";
import { causedError } from "../message/caused-error.js";

/**
 * Least max_payload of a server, in bytes: a message needs room for headers beside its
 * payload, and a larger message takes the detour of the object store.
 */
const leastMaxPayload = 16 * 1024;

/** The error of a connection to a server that takes small messages only; undefined for any other. */
export function tooSmall(maxPayload: number, server: string): ConnectError | undefined {
  return maxPayload < leastMaxPayload
    ? new ConnectError(
        `max_payload of the NATS server at ${server} is ${maxPayload} bytes: jetrpc needs ${leastMaxPayload} at least. Raise max_payload in its configuration; its default is 1MB`,
        Code.FailedPrecondition,
      )
    : undefined;
}

/** The reason why the NATS client ended a connection by itself. */
export function givenUp(cause: Error): ConnectError {
  if (cause instanceof ConnectError) {
    return cause;
  }
  const isRefused =
    cause instanceof errors.AuthorizationError ||
    cause instanceof errors.UserAuthenticationExpiredError;
  return causedError(
    `the NATS connection was given up: ${cause.message}`,
    isRefused ? Code.Unauthenticated : Code.Unavailable,
    cause,
  );
}
