import { Code, ConnectError } from "@jetrpc/runtime";

/** The error of a request that cannot be. */
export function invalid(text: string): ConnectError {
  return new ConnectError(text, Code.InvalidArgument);
}
