import {
  type Authenticator,
  credsAuthenticator,
  type NKeyAuth,
  nkeyAuthenticator,
  nkeys,
  tokenAuthenticator,
  usernamePasswordAuthenticator,
} from "@nats-io/nats-core";
import type { NodeConnectionOptions } from "@nats-io/transport-node";
import { type Environment, invalid, readNamed } from "./environment.js";
import type { Login } from "./servers.js";

/** The user who connects. Secrets are in the closures only: nothing that is printed shows them. */
export interface Credentials {
  readonly authenticator: Authenticator[];
  /** In words for a message, as of now. */
  describe(): string;
}

/**
 * Finds out who connects. Throws InvalidArgument when the URLs of the servers and
 * the variables give more than one, or a seed or a file is not what it should be.
 */
export function readCredentials(login: Login | undefined, environment: Environment): Credentials {
  const { NATS_TOKEN, NATS_USER, NATS_PASSWORD, NATS_NKEY_SEED, NATS_CREDS } = environment;
  const given = Object.entries({ NATS_TOKEN, NATS_USER, NATS_NKEY_SEED, NATS_CREDS })
    .filter(([, value]) => value)
    .map(([name]) => name)
    .concat(login ? "credentials in NATS_URL" : []);
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
  if (login) {
    return tokenOrUser(login, () => "the credentials in NATS_URL");
  }
  if (NATS_TOKEN) {
    return tokenOrUser({ token: NATS_TOKEN }, () => "the token in NATS_TOKEN");
  }
  if (NATS_USER) {
    return tokenOrUser(
      { user: NATS_USER, pass: NATS_PASSWORD },
      () => `the user ${NATS_USER} with the password in NATS_PASSWORD`,
    );
  }
  return tokenOrUser(
    {},
    () =>
      "a client without credentials (set NATS_TOKEN, NATS_USER and NATS_PASSWORD, NATS_NKEY_SEED or NATS_CREDS)",
  );
}

/** Reads the user from options of the NATS client. */
export function optionCredentials(
  login: Login,
  authenticator: NodeConnectionOptions["authenticator"],
): Credentials {
  const plain = tokenOrUser(login, () => "the credentials of connect({ nats })");
  return { ...plain, authenticator: [authenticator ?? [], plain.authenticator].flat() };
}

function tokenOrUser({ token, user, pass }: Login, describe: () => string): Credentials {
  return {
    authenticator: [
      ...(token ? [tokenAuthenticator(token)] : []),
      ...(user ? [usernamePasswordAuthenticator(user, pass)] : []),
    ],
    describe,
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
    // An error about a seed may hold the seed.
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
      const { expiresAt } = last;
      const when =
        expiresAt && expiresAt <= Date.now()
          ? `, which expired on ${new Date(expiresAt).toISOString()}`
          : "";
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
    // An error about a file may hold its content.
    throw invalid(`NATS_CREDS names ${path}, which holds no JWT and seed: make the file anew`);
  }
  if (!isOwn) {
    throw invalid(`NATS_CREDS names ${path}, whose seed is not the one of its JWT`);
  }
  return { authenticator, expiresAt: claims.exp ? claims.exp * 1_000 : undefined };
}
