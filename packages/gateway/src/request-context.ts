import { createContextKey, type HandlerContext } from "@connectrpc/connect";
import type { Connection } from "@jetrpc/runtime";
import type { Identity } from "./identity.js";

/** What a handler needs to know of the request that it runs for. */
export interface Request {
  readonly identity: Identity;
  readonly connection: Connection;
}

/** Key of a handler's {@link Request}. */
export const requestKey = createContextKey<Request | undefined>(undefined);

/** The request that a handler runs for. */
export function requestOf({ values }: HandlerContext): Request {
  return values.get(requestKey) as Request;
}
