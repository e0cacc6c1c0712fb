import type { NatsConnection } from "@nats-io/nats-core";
import { type Connection, type ConnectionOptions, openConnection } from "../connection.js";
import { createCaller } from "./nats-caller.js";

/**
 * Makes a jetrpc connection of a NATS connection, however that was made.
 *
 * Throws FailedPrecondition when the server is older than 2.12, and
 * InvalidArgument for an impossible owner, domain, limit or time-out.
 */
export function createConnection(
  nats: NatsConnection,
  options: ConnectionOptions = {},
): Connection {
  return openConnection(nats, options, { createCaller });
}
