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
    const denied = ConnectError.from(error);
    if (denied.code !== Code.PermissionDenied || /^object |operator may/.test(denied.rawMessage)) {
      throw error;
    }
    const text = `these credentials may not ${what}; ${who} (${denied.rawMessage})`;
    throw causedError(text, Code.PermissionDenied, error);
  }
}
