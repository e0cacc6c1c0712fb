import { Code, ConnectError } from "@connectrpc/connect";
import type { JWTPayload, JWTVerifyGetKey, JWTVerifyOptions } from "jose";
import { badToken, bearerOf, bearerScheme } from "./bearer.js";
import type { Authenticate, Identity } from "./identity.js";
import { ownerOf } from "./owner.js";
import { secretBytes } from "./secret.js";

/** How the tokens of an identity provider are checked: either `jwks` or `secret` is given. */
export interface BearerJwtOptions {
  /** Address of the provider's public keys: `https://…/.well-known/jwks.json`. */
  readonly jwks?: string | URL | undefined;
  /** The key that tokens are signed with by HMAC, at least 32 bytes. */
  readonly secret?: string | Uint8Array | undefined;
  /** Who has to have made the token (`iss`). Default: anyone who has the key. */
  readonly issuer?: string | undefined;
  /** Whom the token has to be for (`aud`). Default: anyone. */
  readonly audience?: string | undefined;
  /** Accepted algorithms. Default: those of public keys with `jwks`, HS256 with `secret`. */
  readonly algorithms?: readonly string[] | undefined;
  /**
   * Who a valid token shows; undefined refuses it. Default: the owner is `sub`, or its digest
   * where that can be none.
   */
  readonly identity?: ((claims: JWTPayload) => Identity | undefined) | undefined;
}

const publicKeyAlgorithms = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512"].concat([
  "ES256",
  "ES384",
  "ES512",
  "EdDSA",
  "Ed25519",
]);

/**
 * Knows clients by JSON Web Tokens, `Authorization: Bearer …`. A token has to have `sub` and
 * `exp`. A request without a token is not known; one with a token that does not count is
 * Unauthenticated; Unavailable when the keys cannot be fetched. Throws InvalidArgument
 * for impossible options.
 */
export function bearerJwt(options: BearerJwtOptions): Authenticate {
  const { jwks, secret, identity = bySubject } = options;
  if ((jwks === undefined) === (secret === undefined)) {
    throw new ConnectError("bearerJwt: give either jwks or secret", Code.InvalidArgument);
  }
  const key = secret === undefined ? undefined : secretBytes("bearerJwt", secret);
  const url = jwks === undefined ? undefined : urlOf(jwks);
  const wanted: JWTVerifyOptions = {
    algorithms: [...(options.algorithms ?? (key ? ["HS256"] : publicKeyAlgorithms))],
    requiredClaims: ["sub", "exp"],
    ...(options.issuer !== undefined && { issuer: options.issuer }),
    ...(options.audience !== undefined && { audience: options.audience }),
  };
  // jose is an ES module only.
  const loaded = import("jose").then((jose) => ({
    jose,
    key: url ? jose.createRemoteJWKSet(url) : (key as Uint8Array),
  }));
  loaded.catch(() => undefined);
  const authenticate: Authenticate = async ({ headers }) => {
    const token = bearerOf(headers);
    if (token === undefined) {
      return undefined;
    }
    const { jose, key } = await loaded;
    let claims: JWTPayload;
    try {
      ({ payload: claims } =
        key instanceof Uint8Array
          ? await jose.jwtVerify(token, key, wanted)
          : await jose.jwtVerify(token, key as JWTVerifyGetKey, wanted));
    } catch (cause) {
      if (
        !(cause instanceof jose.errors.JOSEError) ||
        cause.code === "ERR_JWKS_TIMEOUT" ||
        cause.code === "ERR_JOSE_GENERIC"
      ) {
        const text = `the keys at ${url?.host} cannot be fetched`;
        throw new ConnectError(text, Code.Unavailable, undefined, undefined, cause);
      }
      throw badToken(cause.message, cause);
    }
    const who = identity(claims);
    if (!who) {
      throw badToken("it is of nobody who may call");
    }
    return who;
  };
  return Object.assign(authenticate, { securitySchemes: bearerScheme("JWT") });
}

function bySubject({ sub }: JWTPayload): Identity | undefined {
  // jose checks that it is there, and not that it is a text.
  return typeof sub === "string" && sub !== "" ? { owner: ownerOf(sub) } : undefined;
}

function urlOf(jwks: string | URL): URL {
  try {
    return new URL(jwks);
  } catch (cause) {
    const text = `bearerJwt: jwks is ${String(jwks)}, which is no URL`;
    throw new ConnectError(text, Code.InvalidArgument, undefined, undefined, cause);
  }
}
