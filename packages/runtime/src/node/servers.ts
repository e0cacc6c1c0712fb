import { invalid } from "./environment.js";

/** The content of the URLs of the servers. */
export interface Servers {
  /** `host:port` of each: the NATS client would drop the rest of a URL without a word. */
  readonly addresses: string[];
  readonly hosts: string[];
  /** TLS is demanded: of all servers, when one URL says tls://. */
  readonly isTls: boolean;
  /** The text before the @, if there is any. */
  readonly login: Login | undefined;
}

/** A token, or a user and a password. */
export interface Login {
  readonly token?: string | undefined;
  readonly user?: string | undefined;
  readonly pass?: string | undefined;
}

/**
 * Reads URLs of NATS servers: `nats://` or `tls://`, and nothing means `nats://`.
 * Throws InvalidArgument for any other, and when two name different credentials.
 * A URL that cannot be read may hold a secret anywhere: messages give its place.
 */
export function parseServers(urls: string[], source: string): Servers {
  if (urls.length === 0) {
    throw invalid(`${source} names no server: write nats://host:port`);
  }
  const parsed = urls.map((url, index) => {
    const place = `${source}, URL ${index + 1} of ${urls.length}`;
    const [, scheme = "nats", rest = ""] = /^(?:([a-z][a-z0-9+.-]*):\/\/)?(.*)$/is.exec(url) ?? [];
    return { scheme: checkScheme(scheme.toLowerCase(), place), url: parseUrl(rest, place) };
  });
  const logins = parsed.map(({ url }) => url).filter((url) => url.username || url.password);
  const [first] = logins;
  if (logins.some((url) => url.username !== first?.username || url.password !== first.password)) {
    throw invalid(`the URLs in ${source} hold different credentials: write the same, or one`);
  }
  return {
    addresses: parsed.map(({ url }) => `${url.hostname}:${url.port || 4222}`),
    hosts: parsed.map(({ url }) => url.hostname.replace(/^\[|\]$/g, "")),
    isTls: parsed.some(({ scheme }) => scheme === "tls"),
    login: first && readLogin(first, source),
  };
}

function checkScheme(scheme: string, place: string): string {
  if (scheme === "ws" || scheme === "wss") {
    throw invalid(
      `${place} is a WebSocket's: write nats:// or tls://, or make the connection by createConnection(await wsconnect({ servers }))`,
    );
  }
  if (scheme !== "nats" && scheme !== "tls") {
    throw invalid(`${place} has the scheme ${scheme}://: write nats:// or tls://`);
  }
  return scheme;
}

function parseUrl(rest: string, place: string): URL {
  const url = URL.canParse(`nats://${rest}`) ? new URL(`nats://${rest}`) : undefined;
  const isHost = /^(\[[\da-f:.]+\]|[\p{L}\p{N}_.-]+)$/iu.test(decode(url?.hostname, place));
  if (!url || !isHost || url.port === "0" || !/^\/?$/.test(url.pathname + url.search + url.hash)) {
    throw invalid(
      `${place} cannot be read: write nats://host:port, nats://[IPv6]:port or nats://user:password@host:port, with %40 for @, %2C for comma and the like`,
    );
  }
  return url;
}

/** A URL with a user only holds a token. */
function readLogin({ username, password }: URL, source: string): Login {
  const name = decode(username, source);
  return password ? { user: name, pass: decode(password, source) } : { token: name };
}

function decode(text: string | undefined, place: string): string {
  try {
    return decodeURIComponent(text ?? "");
  } catch {
    throw invalid(`${place} holds a % that is not followed by two digits: write %25`);
  }
}
