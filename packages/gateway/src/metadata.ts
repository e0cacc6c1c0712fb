import type { IncomingHttpHeaders } from "node:http";
import type { Identity } from "./identity.js";

/**
 * Headers that are between a client and this server: those of HTTP, of the protocols, and what
 * shows who somebody is. The metadata of durable calls is stored, so a worker gets no secret
 * that it was not given on purpose.
 */
const ofHttp = new Set([
  "age",
  "allow",
  "alt-svc",
  "authorization",
  "cache-control",
  "connection",
  "cookie",
  "date",
  "expect",
  "forwarded",
  "from",
  "host",
  "http2-settings",
  "idempotency-key",
  "keep-alive",
  "last-event-id",
  "link",
  "location",
  "max-forwards",
  "origin",
  "pragma",
  "prefer",
  "preference-applied",
  "priority",
  "range",
  "referer",
  "refresh",
  "retry-after",
  "server",
  "set-cookie",
  "strict-transport-security",
  "te",
  "trailer",
  "transfer-encoding",
  "upgrade",
  "upgrade-insecure-requests",
  "user-agent",
  "vary",
  "via",
  "www-authenticate",
]);

const prefixes =
  /^(?::|accept|access-control-|connect-|content-|grpc-|if-|jetrpc-|nats-|proxy-|sec-|x-forwarded-|x-grpc-|x-user-agent$|x-real-ip$)/;

/** Tells of an error that its call surely reached no handler. */
export const notRunHeader = "jetrpc-not-run";

/** True for a header that goes on to the other side. */
function isMetadata(name: string): boolean {
  return !ofHttp.has(name) && !prefixes.test(name);
}

/** The metadata among headers. */
export function metadataOf(headers: Headers): Headers {
  const metadata = new Headers();
  copyMetadata(headers, metadata);
  return metadata;
}

/** Adds the metadata among headers to others. */
export function copyMetadata(from: Headers, to: Headers): void {
  from.forEach((value, name) => {
    if (isMetadata(name)) {
      to.append(name, value);
    }
  });
}

/**
 * The metadata of a request for a worker: the client's, and what the gateway says of the client.
 * Undefined where there is none.
 */
export function requestMetadata(
  headers: IncomingHttpHeaders,
  { headers: own = {} }: Identity,
): Headers | undefined {
  let metadata: Headers | undefined;
  for (const name in headers) {
    if (isMetadata(name)) {
      metadata ??= new Headers();
      for (const value of [headers[name] ?? []].flat()) {
        metadata.append(name, value);
      }
    }
  }
  for (const name in own) {
    metadata ??= new Headers();
    metadata.set(name, own[name] as string);
  }
  return metadata;
}
