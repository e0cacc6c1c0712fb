import { type Code, ConnectError } from "@connectrpc/connect";

/** Makes an error that carries what caused it. */
export function causedError(message: string, code: Code, cause: unknown): ConnectError {
  return new ConnectError(message, code, undefined, undefined, cause);
}
