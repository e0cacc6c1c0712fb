import { createHash, randomBytes } from "node:crypto";
import { Cookie } from "./cookie.js";
import type { User } from "./user.js";

/** How long a session lasts, in ms. */
const lifetimeMs = 12 * 3_600_000;

/** Sessions at once: the oldest makes room. */
const maxSessions = 1_000;

/** Tells who a session is of, at each request; undefined when it has ended. */
type Identify = () => Promise<User | undefined>;

interface Session {
  readonly identify: Identify;
  readonly expiresAt: Date;
}

/**
 * Sessions of browsers, named by a cookie. They are kept here only, by the digest of what the
 * cookie has: they end with the console.
 */
export class Sessions {
  private readonly sessions = new Map<string, Session>();
  private readonly cookie: Cookie;

  /** `url` is the address under which browsers reach the console. */
  constructor(url: URL) {
    this.cookie = new Cookie("jetrpc-console", url, "Strict");
  }

  /** Begins a session, and returns the `Set-Cookie` of it. */
  begin(identify: Identify): string {
    const id = randomBytes(32).toString("base64url");
    for (const [key, { expiresAt }] of this.sessions) {
      if (expiresAt.getTime() <= Date.now() || this.sessions.size >= maxSessions) {
        this.sessions.delete(key);
      }
    }
    const expiresAt = new Date(Date.now() + lifetimeMs);
    this.sessions.set(digest(id), { identify, expiresAt });
    return this.cookie.set(id, lifetimeMs);
  }

  /** Who has the session of a `Cookie` header; undefined when there is none, or it has ended. */
  async find(cookies: string | undefined): Promise<User | undefined> {
    const id = this.cookie.read(cookies);
    const session = id === undefined ? undefined : this.sessions.get(digest(id));
    if (!session || session.expiresAt.getTime() <= Date.now()) {
      return undefined;
    }
    const user = await session.identify();
    return user && { ...user, expiresAt: session.expiresAt };
  }

  /** Ends the session of a `Cookie` header, and returns the `Set-Cookie` that makes a browser forget it. */
  end(cookies: string | undefined): string {
    const id = this.cookie.read(cookies);
    if (id !== undefined) {
      this.sessions.delete(digest(id));
    }
    return this.cookie.set("", 0);
  }
}

function digest(id: string): string {
  return createHash("sha256").update(id).digest("base64url");
}
