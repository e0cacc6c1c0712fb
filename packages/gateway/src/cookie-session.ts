import { hkdfSync, randomUUID } from "node:crypto";
import { Code, ConnectError } from "@connectrpc/connect";
import type { JWTPayload } from "jose";
import type { Authenticate, Identity } from "./identity.js";
import { isLoopbackHost } from "./loopback.js";
import { checkSameOrigin } from "./same-origin.js";
import { secretBytes } from "./secret.js";

/** How sessions are kept in a cookie. */
export interface CookieSessionOptions {
  /**
   * Secrets of at least 32 bytes: the first one encrypts cookies, each decrypts them. A new one
   * is put before the old one, which goes when its sessions have ended, after `lifetimeMs`.
   */
  readonly secrets: readonly (string | Uint8Array)[];
  /** How long a session lasts that nobody uses, in ms. Default: 12 hours. */
  readonly idleTimeoutMs?: number | undefined;
  /** How long a session lasts at most, in ms. Default: 7 days. */
  readonly lifetimeMs?: number | undefined;
  /**
   * Pages of other origins that may use the session: `https://app.example.com`. `cors` has to
   * name them, too, with `credentials`. Default: none.
   */
  readonly origins?: readonly string[] | undefined;
  /**
   * Whether the cookies are for https only. Without, it is for tries by http on this machine, and
   * requests to another one are refused. Default: true.
   */
  readonly secure?: boolean | undefined;
  /**
   * Who a session shows; undefined refuses it. It is asked at each request: a store can say
   * which sessions have ended. Default: whom the session was made for.
   */
  readonly identity?:
    | ((session: Session) => Identity | undefined | Promise<Identity | undefined>)
    | undefined;
}

/** A session. */
export interface Session {
  /** Names it. */
  readonly id: string;
  readonly identity: Identity;
  readonly createdAt: Date;
  /** When it ends, if nobody uses it until then. */
  readonly expiresAt: Date;
}

/** Knows clients by a cookie, and makes it. */
export interface CookieSession extends Authenticate {
  /**
   * Begins a session: the value of a `Set-Cookie` header for the answer to a login. Throws
   * InvalidArgument for an identity that is too large for a cookie.
   */
  create(identity: Identity): Promise<string>;
  /** The session of a `Cookie` header; undefined when there is none, or it has ended. */
  read(cookie: string | undefined): Promise<Session | undefined>;
  /**
   * The value of a `Set-Cookie` header that makes a browser forget its session. Whoever has a
   * copy of the cookie may use it until it expires, unless `identity` refuses the session.
   */
  end(): string;
}

const defaultIdleMs = 12 * 3_600_000;
const defaultLifetimeMs = 7 * 24 * 3_600_000;

/** No browser keeps a larger cookie, in bytes of its name and value. */
const maxCookieBytes = 4096;

const keyManagement = "dir";
const encryption = "A256GCM";

interface Key {
  readonly id: string;
  readonly bytes: Uint8Array;
}

/**
 * Knows clients by a session in an encrypted cookie, `__Host-jetrpc-session`, which a login sets
 * by `create()` and a logout takes away. When half of the idle time is over, the response to a request
 * renews it, by a cookie beside it, `__Host-jetrpc-session-used`, that is worth nothing alone: so
 * the answer to a request that is under way when a person logs out brings no session back. A
 * request without the cookie is not known; one whose cookie does not count is Unauthenticated;
 * what another page may have sent is PermissionDenied: see {@link checkSameOrigin}. Throws
 * InvalidArgument for impossible options.
 */
export function cookieSession(options: CookieSessionOptions): CookieSession {
  const sessions = new CookieSessions(options);
  const authenticate: Authenticate = (request) => sessions.authenticate(request);
  return Object.assign(authenticate, {
    securitySchemes: { session: { type: "apiKey", in: "cookie", name: sessions.cookie } },
    create: (identity: Identity) => sessions.create(identity),
    read: (cookie: string | undefined) => sessions.read(cookie),
    end: () => sessions.end(),
  });
}

class CookieSessions {
  readonly cookie: string;
  private readonly usedCookie: string;
  private readonly keys: readonly Key[];
  private readonly idleMs: number;
  private readonly lifetimeMs: number;
  private readonly isSecure: boolean;
  // jose is an ES module only.
  private readonly jose = import("jose");

  constructor(private readonly options: CookieSessionOptions) {
    this.jose.catch(() => undefined);
    this.keys = options.secrets.map((secret) => keyOf(secretBytes("cookieSession", secret)));
    if (this.keys.length === 0) {
      throw new ConnectError("cookieSession: secrets is empty: give one", Code.InvalidArgument);
    }
    this.idleMs = duration("idleTimeoutMs", options.idleTimeoutMs ?? defaultIdleMs);
    this.lifetimeMs = duration("lifetimeMs", options.lifetimeMs ?? defaultLifetimeMs);
    this.isSecure = options.secure ?? true;
    this.cookie = this.isSecure ? "__Host-jetrpc-session" : "jetrpc-session";
    this.usedCookie = `${this.cookie}-used`;
  }

  async authenticate({
    method,
    headers,
    responseHeaders,
  }: Parameters<Authenticate>[0]): Promise<Identity | undefined> {
    const cookies = headers.get("cookie");
    if (this.valueOf(this.cookie, cookies) === undefined) {
      return undefined;
    }
    if (!this.isSecure && !isLoopbackHost(headers.get("host") ?? "")) {
      const text = "sessions that are not secure are for this machine only";
      throw new ConnectError(text, Code.PermissionDenied);
    }
    checkSameOrigin({ method, headers }, this.options.origins);
    const { session, isDue } = await this.open(cookies);
    const { identity = ({ identity }: Session) => identity } = this.options;
    const who = await identity(session);
    if (!who) {
      throw ended("it is of nobody who may call");
    }
    if (isDue) {
      responseHeaders.append("set-cookie", await this.renewal(session));
    }
    return who;
  }

  async create({ owner, name, methods, headers }: Identity): Promise<string> {
    const identity = { owner, name, methods, headers };
    const value = await this.seal(randomUUID(), this.lifetimeMs, { identity });
    const size = this.cookie.length + 1 + value.length;
    if (size > maxCookieBytes) {
      const text = `the identity makes a cookie of ${size} bytes, and browsers keep ${maxCookieBytes}: keep its methods and headers in a store, and give them by the option identity`;
      throw new ConnectError(text, Code.InvalidArgument);
    }
    return this.setCookie(this.cookie, value, this.lifetimeMs);
  }

  async read(cookies: string | undefined): Promise<Session | undefined> {
    try {
      return (await this.open(cookies ?? null)).session;
    } catch (error) {
      if (error instanceof ConnectError) {
        return undefined;
      }
      throw error;
    }
  }

  /** Makes a browser forget the session. What renewed it is worth nothing then. */
  end(): string {
    return this.setCookie(this.cookie, "", 0);
  }

  private setCookie(name: string, value: string, maxAgeMs: number): string {
    const maxAge = Math.max(0, Math.floor(maxAgeMs / 1000));
    const secure = this.isSecure ? "; Secure" : "";
    return `${name}=${value}; Path=/; Max-Age=${maxAge}; HttpOnly; SameSite=Lax${secure}`;
  }

  private valueOf(name: string, cookies: string | null): string | undefined {
    const prefix = `${name}=`;
    for (const each of cookies?.split(";") ?? []) {
      const pair = each.trim();
      if (pair.startsWith(prefix) && pair.length > prefix.length) {
        return pair.slice(prefix.length);
      }
    }
    return undefined;
  }

  /** The cookie that says that a session was used now. */
  private async renewal({ id, createdAt }: Session): Promise<string> {
    const ms = Math.min(this.idleMs, createdAt.getTime() + this.lifetimeMs - Date.now());
    return this.setCookie(this.usedCookie, await this.seal(id, ms), ms);
  }

  /** A token of a session, made now. */
  private async seal(id: string, ms: number, claims: JWTPayload = {}): Promise<string> {
    const { EncryptJWT } = await this.jose;
    const [key] = this.keys as [Key];
    const now = Date.now();
    return new EncryptJWT(claims)
      .setProtectedHeader({ alg: keyManagement, enc: encryption, kid: key.id })
      .setJti(id)
      .setIssuedAt(Math.floor(now / 1000))
      .setExpirationTime(Math.floor((now + ms) / 1000))
      .encrypt(key.bytes);
  }

  /** The claims of a token. Throws Unauthenticated. */
  private async unseal(value: string, requiredClaims: string[]): Promise<Required<JWTPayload>> {
    const { jwtDecrypt, decodeProtectedHeader, errors } = await this.jose;
    try {
      const { kid } = decodeProtectedHeader(value);
      const key = this.keys.find(({ id }) => id === kid);
      if (!key) {
        throw ended("its secret is not known");
      }
      const { payload } = await jwtDecrypt(value, key.bytes, {
        keyManagementAlgorithms: [keyManagement],
        contentEncryptionAlgorithms: [encryption],
        requiredClaims: ["jti", "iat", "exp", ...requiredClaims],
      });
      return payload as Required<JWTPayload>;
    } catch (cause) {
      if (cause instanceof errors.JOSEError || cause instanceof TypeError) {
        throw ended(cause instanceof errors.JWTExpired ? "it has expired" : cause.message, cause);
      }
      throw cause;
    }
  }

  /** The session of a request, and whether it is to be renewed. Throws Unauthenticated. */
  private async open(cookies: string | null): Promise<{ session: Session; isDue: boolean }> {
    const value = this.valueOf(this.cookie, cookies);
    if (value === undefined) {
      throw ended("there is none");
    }
    const { jti, iat, identity } = await this.unseal(value, ["identity"]);
    const usedAt = Math.max(iat * 1000, await this.usedAt(jti, cookies));
    // The life that it was made with does not count: it may have been made shorter since then.
    const end = Math.min(usedAt + this.idleMs, iat * 1000 + this.lifetimeMs);
    const now = Date.now();
    if (now >= end) {
      throw ended("it has expired");
    }
    const session = {
      id: jti,
      identity: identity as Identity,
      createdAt: new Date(iat * 1000),
      expiresAt: new Date(end),
    };
    return { session, isDue: now >= usedAt + this.idleMs / 2 };
  }

  /** When a session was renewed, in ms; 0 where it was not. */
  private async usedAt(id: string, cookies: string | null): Promise<number> {
    const value = this.valueOf(this.usedCookie, cookies);
    if (value === undefined) {
      return 0;
    }
    try {
      const { jti, iat } = await this.unseal(value, []);
      // One of another session is left over.
      return jti === id ? iat * 1000 : 0;
    } catch (error) {
      if (error instanceof ConnectError) {
        return 0;
      }
      throw error;
    }
  }
}

/** A key for this use only, so that the secret may have others. */
function keyOf(secret: Uint8Array): Key {
  const derive = (info: string, length: number) =>
    Buffer.from(hkdfSync("sha256", secret, "", `jetrpc gateway session ${info}`, length));
  return { id: derive("id", 8).toString("base64url"), bytes: new Uint8Array(derive("key", 32)) };
}

function duration(name: string, ms: number): number {
  if (!(ms >= 1000)) {
    const text = `cookieSession: ${name} is ${ms}: give at least 1000 ms`;
    throw new ConnectError(text, Code.InvalidArgument);
  }
  return ms;
}

function ended(why: string, cause?: unknown): ConnectError {
  const text = `the session does not count: ${why}; log in again`;
  return new ConnectError(text, Code.Unauthenticated, undefined, undefined, cause);
}
