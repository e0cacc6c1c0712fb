import { randomBytes } from "node:crypto";
import type { IncomingMessage } from "node:http";
import { isLoopback } from "@jetrpc/gateway";
import { Code, ConnectError } from "@jetrpc/runtime";
import type { Configuration, IDToken } from "openid-client";
import type { OidcLogin as Options } from "./console-options.js";
import { Cookie } from "./cookie.js";
import { type Login, type LoginAnswer, safePath } from "./login.js";
import type { User } from "./user.js";

/** How long a person has to log in at the provider, in ms; and how many may at once. */
const patienceMs = 10 * 60_000;
const maxPending = 1_000;

/** A login that was begun. */
interface Pending {
  /** What the cookie of its browser has. */
  readonly browser: string;
  readonly verifier: string;
  readonly nonce: string;
  readonly back: string;
  readonly untilMs: number;
}

/** A login at a provider of OpenID Connect: authorization code with PKCE. */
export class OidcLogin implements Login {
  readonly canRepeat = true;
  /** By state: tabs of a browser begin logins at once, and have one cookie. */
  private readonly pending = new Map<string, Pending>();
  private readonly redirectUri: string;
  /** The provider sends the browser back: a strict cookie would not come along. */
  private readonly cookie: Cookie;
  private provider: Promise<Configuration> | undefined;
  // It is an ES module only.
  private readonly openid = import("openid-client");

  /** `url` is the address under which browsers reach the console. */
  constructor(
    private readonly options: Options,
    url: URL,
  ) {
    this.redirectUri = new URL("/login/callback", url).href;
    this.cookie = new Cookie("jetrpc-console-login", url, "Lax");
  }

  async begin({ headers }: IncomingMessage, url: URL): Promise<LoginAnswer> {
    const openid = await this.openid;
    const provider = await this.discover();
    const verifier = openid.randomPKCECodeVerifier();
    const [state, nonce] = [openid.randomState(), openid.randomNonce()];
    this.forgetOld();
    const known = this.cookie.read(headers.cookie);
    const isKnown = [...this.pending.values()].some(({ browser }) => browser === known);
    const browser = known !== undefined && isKnown ? known : randomBytes(32).toString("base64url");
    this.pending.set(state, {
      browser,
      verifier,
      nonce,
      back: safePath(url.searchParams.get("back")),
      untilMs: Date.now() + patienceMs,
    });
    const redirect = openid.buildAuthorizationUrl(provider, {
      redirect_uri: this.redirectUri,
      scope: this.options.scope ?? "openid profile email",
      code_challenge: await openid.calculatePKCECodeChallenge(verifier),
      code_challenge_method: "S256",
      state,
      nonce,
    });
    return { redirect: redirect.href, cookie: this.cookie.set(browser, patienceMs) };
  }

  async finish({ headers }: IncomingMessage, url: URL): Promise<LoginAnswer> {
    const state = url.searchParams.get("state") ?? "";
    const begun = this.pending.get(state);
    const isOwn = begun !== undefined && begun.browser === this.cookie.read(headers.cookie);
    if (isOwn) {
      this.pending.delete(state);
    }
    if (!isOwn || begun.untilMs < Date.now()) {
      const text =
        "The login was not begun in this browser, or took more than 10 minutes: begin anew.";
      return { status: 403, title: "Not logged in", text };
    }
    const [openid, provider] = await Promise.all([this.openid, this.discover()]);
    let claims: IDToken | undefined;
    try {
      const tokens = await openid.authorizationCodeGrant(
        provider,
        new URL(url.search, this.redirectUri),
        {
          pkceCodeVerifier: begun.verifier,
          expectedState: state,
          expectedNonce: begun.nonce,
          idTokenExpected: true,
        },
      );
      claims = tokens.claims();
    } catch (cause) {
      const text = `the login at ${this.host} failed (${reasonOf(cause)}): begin anew`;
      throw new ConnectError(text, Code.Unauthenticated, undefined, undefined, cause);
    }
    const role = claims && this.options.role(claims);
    if (!claims || !role) {
      const text = "You are known, and may not use this console: ask whoever runs it.";
      return { status: 403, title: "Not allowed", text };
    }
    const user: User = { name: nameOf(claims), role };
    return { user: async () => user, back: begun.back };
  }

  async identify(): Promise<User | undefined> {
    return undefined;
  }

  private get host(): string {
    return new URL(this.options.issuer).host;
  }

  /** What the provider says of itself; asked again when that failed. */
  private discover(): Promise<Configuration> {
    this.provider ??= this.askProvider();
    return this.provider.catch((cause: unknown) => {
      this.provider = undefined;
      const issuer = otherIssuer(cause);
      const text =
        issuer === undefined
          ? `the provider at ${this.host} cannot be reached (${reasonOf(cause)})`
          : `the provider at ${this.host} says that its issuer is ${issuer}, and not ${this.options.issuer}: start the console with \`--oidc-issuer ${issuer}\``;
      throw new ConnectError(text, Code.Unavailable, undefined, undefined, cause);
    });
  }

  private async askProvider(): Promise<Configuration> {
    const { issuer, clientId, clientSecret } = this.options;
    const address = new URL(issuer);
    const isLocal = address.protocol === "http:" && isLoopback(address.hostname);
    const { allowInsecureRequests, discovery, None } = await this.openid;
    return await discovery(
      address,
      clientId,
      clientSecret,
      clientSecret === undefined ? None() : undefined,
      isLocal ? { execute: [allowInsecureRequests] } : {},
    );
  }

  private forgetOld(): void {
    for (const [state, { untilMs }] of this.pending) {
      if (untilMs < Date.now() || this.pending.size >= maxPending) {
        this.pending.delete(state);
      }
    }
  }
}

function nameOf({ email, preferred_username, name, sub }: IDToken): string {
  const [first = sub] = [email, preferred_username, name].filter(
    (each): each is string => typeof each === "string" && each !== "",
  );
  return first;
}

/** The issuer that a provider names where it is another one than was given. */
function otherIssuer(error: unknown): string | undefined {
  for (let cause = error; cause instanceof Error; cause = cause.cause as unknown) {
    const { attribute, body } = (cause.cause ?? {}) as {
      attribute?: unknown;
      body?: { issuer?: unknown };
    };
    const issuer = attribute === "issuer" ? body?.issuer : undefined;
    if (typeof issuer === "string" && URL.canParse(issuer)) {
      const { pathname, origin, href } = new URL(issuer);
      return pathname === "/" ? origin : href;
    }
  }
  return undefined;
}

/** No more than a code: descriptions of providers may have anything. */
function reasonOf(error: unknown): string {
  const { error: told, code, name } = error as { error?: unknown; code?: unknown; name?: unknown };
  return String([told, code, name].find((each) => typeof each === "string") ?? "error");
}
