import { Code, ConnectError } from "@connectrpc/connect";
import { headersOf } from "./exchange.js";
import type { Authenticate, Identity } from "./identity.js";
import type { HttpRequest, HttpResponse } from "./refuse.js";

/**
 * Tells who sends a request, and sets the headers that `authenticate` gives the response. Throws
 * Unauthenticated for whom it does not know, and what it throws.
 */
export async function identify(
  authenticate: Authenticate,
  request: HttpRequest,
  response: HttpResponse,
): Promise<Identity> {
  if (request.method === "GET") {
    // It is for this client only, which a cache does not see by a cookie.
    response.setHeader("cache-control", "private, no-cache");
  }
  const responseHeaders = new Headers();
  let identity: Identity | undefined;
  try {
    identity = await authenticate({
      method: request.method ?? "",
      url: request.url ?? "",
      headers: headersOf(request),
      remoteAddress: request.socket?.remoteAddress,
      responseHeaders,
    });
  } finally {
    for (const [name, value] of responseHeaders) {
      // Each cookie is an entry.
      const isCookie = name === "set-cookie";
      response.setHeader(name, isCookie ? responseHeaders.getSetCookie() : value);
    }
  }
  if (!identity) {
    throw new ConnectError("say who you are: see docs/gateway.md", Code.Unauthenticated, {
      "www-authenticate": "Bearer",
    });
  }
  return identity;
}
