import { createContextKey, type HandlerContext } from "@connectrpc/connect";
import type { Connection } from "@jetrpc/runtime";
import type { LentExchange } from "./exchange.js";
import { requestMetadata } from "./metadata.js";

/** Key of the request that a handler runs for. */
export const requestKey = createContextKey<LentExchange | undefined>(undefined);

/** The request that a handler runs for. */
export function requestOf({ values }: HandlerContext): LentExchange {
  return values.get(requestKey) as LentExchange;
}

/** The connection of whoever calls. */
export function connectionOf(context: HandlerContext): Connection {
  return requestOf(context).connection;
}

/** The metadata of a call; undefined where there is none. */
export function callMetadata(context: HandlerContext): Headers | undefined {
  const { request, identity } = requestOf(context);
  return requestMetadata(request.headers, identity);
}
