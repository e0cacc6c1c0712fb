import { Code, ConnectError } from "@connectrpc/connect";
import { causedError } from "../message/caused-error.js";

/** Does what only an operator may. PermissionDenied says so, and what it was. */
export function actAs<T>(what: string, work: () => Promise<T>): Promise<T> {
  return allowed(what, "an operator may: `jetrpc permissions` with the role operator", work);
}

/** Does what an operator may, and an observer that may read. */
export function lookAs<T>(what: string, work: () => Promise<T>): Promise<T> {
  const who =
    "an operator may, and an observer with mayRead: the server cannot show one without requests and results";
  return allowed(what, who, work);
}

async function allowed<T>(what: string, who: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    const { cause, rawMessage } = ConnectError.from(error);
    // Any other refusal is of no credentials, or has been told already.
    if ((cause as Error | undefined)?.name !== "PermissionViolationError") {
      throw error;
    }
    const text = `these credentials may not ${what}; ${who} (${rawMessage})`;
    throw causedError(text, Code.PermissionDenied, error);
  }
}
