import { Code, ConnectError } from "@connectrpc/connect";
import type { RequestInfo } from "./identity.js";
import { isLoopbackHost } from "./loopback.js";
import { isSameHost } from "./origins.js";

/** What a form of any page can send, without a preflight; the empty one is what a script can. */
const formTypes = new Set([
  "",
  "text/plain",
  "multipart/form-data",
  "application/x-www-form-urlencoded",
]);

/**
 * Refuses what a page of another origin may have made a browser send, with the browser's cookies:
 * for clients that are known by a cookie. Throws PermissionDenied
 *
 * - for an `Origin` that is not the server's own, by https or on loopback, and is not among
 *   `origins` (`https://app.example.com`);
 * - unless it is GET or HEAD, for a request without `Origin` that is not `Sec-Fetch-Site:
 *   same-origin`, and for a POST with a content type of forms, or none;
 * - for a GET that `Sec-Fetch-Site` says another site or subdomain made, unless a person follows a link.
 */
export function checkSameOrigin(
  { method, headers }: Pick<RequestInfo, "method" | "headers">,
  origins: readonly string[] = [],
): void {
  const origin = headers.get("origin");
  const host = headers.get("host") ?? "";
  const site = headers.get("sec-fetch-site");
  const isNamed = origin !== null && origins.includes(origin);
  if (origin !== null && !isNamed && !isOwn(origin, host)) {
    throw refused(`pages of ${origin} may not use the session`);
  }
  const isFromHere = isNamed || site === "same-origin" || (site === null && origin !== null);
  if (method === "GET" || method === "HEAD") {
    const isLink =
      headers.get("sec-fetch-mode") === "navigate" && headers.get("sec-fetch-dest") === "document";
    if (!isFromHere && site !== null && site !== "none" && !isLink) {
      throw refused("a page of another origin may not load it with the session");
    }
    return;
  }
  if (!isFromHere) {
    throw refused("it has neither an Origin nor Sec-Fetch-Site: same-origin");
  }
  const type = (headers.get("content-type") ?? "").split(";", 1)[0]?.trim().toLowerCase() ?? "";
  if (method === "POST" && formTypes.has(type)) {
    throw refused(`a form can send ${type || "no content type"}: send application/json`);
  }
}

function isOwn(origin: string, host: string): boolean {
  return (origin.startsWith("https://") || isLoopbackHost(host)) && isSameHost(origin, host);
}

function refused(why: string): ConnectError {
  return new ConnectError(`the request is refused: ${why}`, Code.PermissionDenied);
}
