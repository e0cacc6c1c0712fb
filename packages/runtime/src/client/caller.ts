import type { DescMessage } from "@bufbuild/protobuf";
import type { Transport } from "@connectrpc/connect";
import { type ClientConnection, clientInternalsOf, internals } from "../client-connection.js";
import type { MethodBinding } from "../schema/binding.js";
import type { Call } from "./call.js";
import type { CallOptions } from "./call-options.js";
import type { Durable } from "./method.js";

// biome-ignore lint/suspicious/noExplicitAny: the generated interface of a client gives the types
export type AnyMethod = (request: any, options?: CallOptions) => any;

/** Makes the calls of all clients of a connection, whatever carries them. */
export interface Caller {
  /** Makes calls of any method; a durable one is submitted and waited for. */
  readonly transport: Transport;
  /** Makes the function of a unary method that takes a shorter way. Default: by the transport. */
  unaryMethod?(method: MethodBinding): AnyMethod;
  /** Makes `submit()` and `attach()` of a durable method, and what goes with them. */
  durable(method: MethodBinding): Durable<DescMessage, Call>;
}

/** The caller of a connection. Throws InvalidArgument for any other object. */
export function callerOf(connection: ClientConnection): Caller {
  return clientInternalsOf(connection).caller as Caller;
}

/** Makes a connection of what makes its calls. */
export function connectionOf(
  caller: Caller,
  { closed, close }: Pick<ClientConnection, "close" | "closed">,
): ClientConnection {
  return {
    transport: caller.transport,
    closed,
    close,
    [Symbol.asyncDispose]: close,
    [internals]: { caller },
  };
}
