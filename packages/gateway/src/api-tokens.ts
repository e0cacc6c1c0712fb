import { createHash, randomBytes } from "node:crypto";
import { Code, ConnectError } from "@connectrpc/connect";
import { badToken, bearerOf, bearerScheme } from "./bearer.js";
import type { Authenticate, Identity } from "./identity.js";

/** Who has a token, which itself is kept nowhere. */
export interface ApiToken extends Identity {
  /** The SHA-256 digest of the token, in hex: see {@link hashApiToken}. */
  readonly sha256: string;
}

/**
 * Knows clients by tokens of their own, `Authorization: Bearer …`: made by {@link createApiToken},
 * kept as digests. A request without a token is not known; one with another token is
 * Unauthenticated. Throws InvalidArgument for what is no digest.
 */
export function apiTokens(tokens: readonly ApiToken[]): Authenticate {
  const identities = new Map<string, Identity>();
  for (const { sha256, ...identity } of tokens) {
    if (!/^[0-9a-f]{64}$/.test(sha256)) {
      const text = "sha256 of a token is to be 64 hex digits, as hashApiToken() makes them";
      throw new ConnectError(text, Code.InvalidArgument);
    }
    identities.set(sha256, identity);
  }
  const authenticate: Authenticate = ({ headers }) => {
    const token = bearerOf(headers);
    if (token === undefined) {
      return undefined;
    }
    const identity = identities.get(hashApiToken(token));
    if (!identity) {
      throw badToken("it is not known");
    }
    return identity;
  };
  return Object.assign(authenticate, { securitySchemes: bearerScheme() });
}

/** Makes a token of 256 random bits: too many to guess, so that a plain digest of it is safe to keep. */
export function createApiToken(): string {
  return `jetrpc_${randomBytes(32).toString("base64url")}`;
}

/** The digest of a token that is kept in its place. */
export function hashApiToken(token: string): string {
  return createHash("sha256").update(token).digest("hex");
}
