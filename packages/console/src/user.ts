import { createContextKey, type HandlerContext } from "@connectrpc/connect";
import { Code, ConnectError } from "@jetrpc/runtime";
import type { Role } from "./console-options.js";

/** Who sends a request. */
export interface User {
  readonly name: string;
  readonly role: Role;
  /** When the session ends; undefined without one. */
  readonly expiresAt?: Date | undefined;
}

/** Why somebody with the role `read` may not act. */
export const readOnly =
  'your role is "read", which may only look: ask whoever runs the console for the role "act"';

/** Throws PermissionDenied for the role `read`. */
export function checkMayAct({ role }: User): void {
  if (role !== "act") {
    throw new ConnectError(readOnly, Code.PermissionDenied);
  }
}

/** Who sends a request, or why it is refused; set before a method is called. */
export const userKey = createContextKey<User | ConnectError>(
  new ConnectError("nobody has looked who sends it", Code.Internal),
);

/** Who sends a request. Throws why it is refused. */
export function userOf({ values }: Pick<HandlerContext, "values">): User {
  const user = values.get(userKey);
  if (user instanceof ConnectError) {
    throw user;
  }
  return user;
}
