import type { NodeConnectionOptions } from "@nats-io/transport-node";
import { type Credentials, optionCredentials, readCredentials } from "./credentials.js";
import type { Environment } from "./environment.js";
import { parseServers } from "./servers.js";
import { identityCheck, readTls } from "./tls.js";

/** All that is needed to connect. */
export interface Settings {
  /** For the NATS client. Nothing in them that may be printed is a secret of the environment. */
  readonly nats: NodeConnectionOptions & { readonly servers: string[] };
  readonly credentials: Credentials;
  /** Where the addresses of the servers come from, for a message. */
  readonly source: string;
  /** We can show a certificate to the server. */
  readonly hasCertificate: boolean;
}

/**
 * Puts together what the environment says and, before it, options of the NATS
 * client. Throws InvalidArgument for what contradicts itself or cannot be read.
 */
export function readSettings(
  environment: Environment,
  { servers: given, port, user, pass, token, authenticator, tls, ...rest }: NodeConnectionOptions,
): Settings {
  const urls = given ?? (port ? `127.0.0.1:${port}` : undefined);
  const source = urls ? "servers" : "NATS_URL";
  const servers = parseServers(urls ? [urls].flat() : splitUrls(environment["NATS_URL"]), source);
  const inOptions = token || user || authenticator ? { token, user, pass } : urls && servers.login;
  const credentials = inOptions
    ? optionCredentials(inOptions, authenticator)
    : readCredentials(servers.login, environment);
  const tlsOptions = tls === undefined ? readTls(servers, environment) : tls;
  return {
    nats: {
      // The NATS client gives up after ten attempts by default, and after two that
      // are refused: here `connect()` decides.
      maxReconnectAttempts: -1,
      ignoreAuthErrorAbort: true,
      reconnectTimeWait: 250,
      pingInterval: 10_000,
      timeout: 10_000,
      noAsyncTraces: true,
      ...(environment["NATS_INBOX_PREFIX"] && { inboxPrefix: environment["NATS_INBOX_PREFIX"] }),
      ...rest,
      servers: servers.addresses,
      authenticator: credentials.authenticator,
      ...(tlsOptions !== undefined && {
        tls: tlsOptions && { ...identityCheck(servers), ...tlsOptions },
      }),
    },
    credentials,
    source,
    hasCertificate: Boolean(tlsOptions?.cert || tlsOptions?.certFile),
  };
}

function splitUrls(list: string | undefined): string[] {
  const urls = (list || "nats://127.0.0.1:4222").split(",").map((url) => url.trim());
  return urls.filter((url) => url !== "");
}
