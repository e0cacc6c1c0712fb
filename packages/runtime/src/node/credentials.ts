import {
  type Authenticator,
  credsAuthenticator,
  type NKeyAuth,
  type NodeConnectionOptions,
  nkeyAuthenticator,
  nkeys,
  tokenAuthenticator,
  usernamePasswordAuthenticator,
} from "@nats-io/transport-node";
import { type Environment, invalid, readNamed } from "./environment.js";
import type { Servers } from "./servers.js";

/** Who connects. Secrets are in the closures only: nothing that is printed shows them. */
export interface Credentials {
  readonly authenticator: Authenticator[];
  /** In words for a message, as of now. */
  describe(): string;
}

/**
 * Finds out who connects. What `options` says goes before the variables, and the
 * servers' URLs count as one of them. Throws InvalidArgument when more than one
 * is given, or a seed or a file is not what it should be.
 */
export function readCredentials(
  options: NodeConnectionOptions,
  servers: Servers,
  environment: Environment,
): Credentials {
  const { token, user, pass, authenticator } = options;
  if (token || user || authenticator) {
    return {
      authenticator: [
        ...[authenticator ?? []].flat(),
        ...(token ? [tokenAuthenticator(token)] : []),
        ...(user ? [usernamePasswordAuthenticator(user, pass)] : []),
      ],
      describe: () => "the credentials of connect({ nats })",
    };
  }
  const { NATS_TOKEN, NATS_USER, NATS_PASSWORD, NATS_NKEY_SEED, NATS_CREDS } = environment;
  const isInUrl = servers.user !== undefined || servers.token !== undefined;
  const given = Object.entries({ NATS_TOKEN, NATS_USER, NATS_NKEY_SEED, NATS_CREDS })
    .filter(([, value]) => value)
    .map(([name]) => name)
    .concat(isInUrl ? "credentials in NATS_URL" : []);
  if (given.length > 1) {
    throw invalid(`${given.join(" and ")} are set: keep one of them`);
  }
  if (NATS_PASSWORD && !NATS_USER) {
    throw invalid("NATS_PASSWORD is set without NATS_USER: set both");
  }
  if (NATS_NKEY_SEED) {
    return nkey(NATS_NKEY_SEED);
  }
  if (NATS_CREDS) {
    return creds(NATS_CREDS);
  }
  const name = isInUrl ? "NATS_URL" : given[0];
  const aToken = NATS_TOKEN || servers.token;
  if (aToken) {
    return {
      authenticator: [tokenAuthenticator(aToken)],
      describe: () => `the token in ${name}`,
    };
  }
  const aUser = NATS_USER || servers.user;
  if (aUser) {
    return {
      authenticator: [usernamePasswordAuthenticator(aUser, NATS_PASSWORD || servers.pass)],
      describe: () => `the user ${aUser} and the password in ${isInUrl ? name : "NATS_PASSWORD"}`,
    };
  }
  return {
    authenticator: [],
    describe: () =>
      "a client without credentials (set NATS_TOKEN, NATS_USER and NATS_PASSWORD, NATS_NKEY_SEED or NATS_CREDS)",
  };
}

function nkey(seed: string): Credentials {
  const bytes = new TextEncoder().encode(seed.trim());
  try {
    const publicKey = nkeys.fromSeed(bytes).getPublicKey();
    if (publicKey.startsWith("U")) {
      return {
        authenticator: [nkeyAuthenticator(bytes)],
        describe: () => `the user ${publicKey}, whose seed is in NATS_NKEY_SEED`,
      };
    }
  } catch {
    // What is said of a seed may hold it.
  }
  throw invalid("NATS_NKEY_SEED is no seed of a user's nkey: write all of it, it starts with SU");
}

function creds(path: string): Credentials {
  let last = readCreds(path);
  return {
    // Read anew for each connect, as credentials are renewed; a file that is just
    // being written is left for the next time.
    authenticator: [
      (nonce) => {
        try {
          last = readCreds(path);
        } catch {}
        return last.authenticator(nonce);
      },
    ],
    describe: () => {
      const isExpired = last.expiresAt !== undefined && last.expiresAt <= Date.now();
      const when = isExpired ? `, which expired on ${new Date(last.expiresAt).toISOString()}` : "";
      return `the JWT in ${path}${when} (NATS_CREDS)`;
    },
  };
}

interface Creds {
  readonly authenticator: Authenticator;
  /** Ms since 1970. */
  readonly expiresAt: number | undefined;
}

function readCreds(path: string): Creds {
  const text = readNamed("NATS_CREDS", path).replaceAll("\r\n", "\n");
  let isOwn: boolean;
  let authenticator: Authenticator;
  let claims: { sub?: string; exp?: number };
  try {
    authenticator = credsAuthenticator(new TextEncoder().encode(text));
    const { jwt, nkey: publicKey } = authenticator("nonce") as NKeyAuth & { jwt: string };
    claims = JSON.parse(Buffer.from(jwt.split(".")[1] ?? "", "base64url").toString());
    isOwn = claims.sub === publicKey;
  } catch {
    // What is said of a file may hold what is in it.
    throw invalid(`NATS_CREDS names ${path}, which holds no JWT and seed: make the file anew`);
  }
  if (!isOwn) {
    throw invalid(`NATS_CREDS names ${path}, whose seed is not the one of its JWT`);
  }
  return { authenticator, expiresAt: claims.exp ? claims.exp * 1_000 : undefined };
}
