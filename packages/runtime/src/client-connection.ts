import { Code, ConnectError, type Transport } from "@connectrpc/connect";

/**
 * Key of what the runtime keeps of a connection for itself. A symbol of the registry: an
 * app may load the runtime as an ES module and as CommonJS.
 */
export const internals: unique symbol = Symbol.for("jetrpc.internals");

/** A connection that clients are made on, whatever carries their calls. */
export interface ClientConnection {
  /** A Connect transport: any Connect client works over it. */
  readonly transport: Transport;
  /**
   * Resolves when the connection is closed. With the reason when that was not by
   * close(): Unauthenticated when the server came to refuse the credentials.
   */
  readonly closed: Promise<ConnectError | undefined>;
  /** Sends what is still to be sent and closes the connection. Never throws. */
  close(): Promise<void>;
  /** The same as `close()`: for `await using`. */
  [Symbol.asyncDispose](): Promise<void>;
  /** The runtime's own. */
  readonly [internals]: unknown;
}

/** The part of every connection that {@link internals} is the key of. */
export interface ClientInternals {
  /** Makes the calls of clients. Only the client knows more of it. */
  readonly caller: { readonly transport: Transport } | undefined;
}

/** The part of a connection that the runtime keeps for itself. Throws InvalidArgument for any other object. */
export function clientInternalsOf(connection: ClientConnection): ClientInternals {
  const own = (connection as ClientConnection | undefined)?.[internals];
  if (own === undefined) {
    throw new ConnectError(
      "this is no connection of jetrpc: make one by connect(), or of a NATS connection by createConnection()",
      Code.InvalidArgument,
    );
  }
  return own as ClientInternals;
}
