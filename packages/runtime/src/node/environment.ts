import { readFileSync } from "node:fs";
import { Code, ConnectError } from "@connectrpc/connect";
import {
  credsAuthenticator,
  type NodeConnectionOptions,
  nkeyAuthenticator,
  type TlsOptions,
} from "@nats-io/transport-node";
import { config } from "dotenv";

/**
 * The settings of a connection, by the names of their environment variables:
 *
 * - `NATS_URL`: one or more servers, separated by commas. Default: `nats://127.0.0.1:4222`.
 * - `NATS_TOKEN`, or `NATS_USER` and `NATS_PASSWORD`, or `NATS_NKEY_SEED`, or
 *   `NATS_CREDS` (path of a .creds file): who connects.
 * - `NATS_TLS_CA`, `NATS_TLS_CERT`, `NATS_TLS_KEY`: paths of PEM files.
 * - `JETRPC_OWNER`: see {@link ConnectionOptions.owner}.
 */
export type Environment = Readonly<Record<string, string | undefined>>;

/** The process's environment, and below it what a `.env` file in the working folder says. */
export function readEnvironment(): Environment {
  const file: Record<string, string> = {};
  config({ processEnv: file, quiet: true });
  return { ...file, ...process.env };
}

/**
 * Turns the environment into options of the NATS client. Throws InvalidArgument
 * for settings that contradict each other or a file that cannot be read; no
 * message holds a secret.
 */
export function natsOptions(environment: Environment): NodeConnectionOptions {
  const servers = (environment["NATS_URL"] || "nats://127.0.0.1:4222")
    .split(",")
    .map((url) => url.trim())
    .filter((url) => url !== "");
  return {
    servers,
    // The NATS client gives up after ten attempts by default.
    maxReconnectAttempts: -1,
    reconnectTimeWait: 250,
    pingInterval: 10_000,
    noAsyncTraces: true,
    ...credentials(environment),
    ...tls(environment),
  };
}

function credentials(environment: Environment): NodeConnectionOptions {
  const {
    NATS_TOKEN: token,
    NATS_USER: user,
    NATS_PASSWORD: pass,
    NATS_NKEY_SEED: seed,
    NATS_CREDS: creds,
  } = environment;
  const given = Object.entries({
    NATS_TOKEN: token,
    NATS_USER: user,
    NATS_NKEY_SEED: seed,
    NATS_CREDS: creds,
  }).filter(([, value]) => value);
  if (given.length > 1) {
    const names = given.map(([name]) => name).join(" and ");
    throw new ConnectError(`${names} are set: keep one of them`, Code.InvalidArgument);
  }
  if (pass && !user) {
    throw new ConnectError("NATS_PASSWORD is set without NATS_USER", Code.InvalidArgument);
  }
  if (token) {
    return { token };
  }
  if (user) {
    return { user, ...(pass && { pass }) };
  }
  if (seed) {
    return { authenticator: nkeyAuthenticator(new TextEncoder().encode(seed)) };
  }
  if (creds) {
    return { authenticator: credsAuthenticator(readFile("NATS_CREDS", creds)) };
  }
  return {};
}

function tls(environment: Environment): NodeConnectionOptions {
  const { NATS_TLS_CA: ca, NATS_TLS_CERT: cert, NATS_TLS_KEY: key } = environment;
  if (Boolean(cert) !== Boolean(key)) {
    throw new ConnectError(
      "NATS_TLS_CERT and NATS_TLS_KEY go together: set both or none",
      Code.InvalidArgument,
    );
  }
  if (!ca && !cert) {
    return {};
  }
  const text = (name: string, path: string) => new TextDecoder().decode(readFile(name, path));
  const options: TlsOptions = {
    ...(ca && { ca: text("NATS_TLS_CA", ca) }),
    ...(cert && { cert: text("NATS_TLS_CERT", cert) }),
    ...(key && { key: text("NATS_TLS_KEY", key) }),
  };
  return { tls: options };
}

function readFile(variable: string, path: string): Uint8Array {
  try {
    return readFileSync(path);
  } catch (cause) {
    throw new ConnectError(
      `${variable} names ${path}, which cannot be read`,
      Code.InvalidArgument,
      undefined,
      undefined,
      cause,
    );
  }
}
