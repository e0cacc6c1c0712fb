import { createHash } from "node:crypto";
import { Code, ConnectError } from "@connectrpc/connect";
import type { NodeConnectionOptions } from "@nats-io/transport-node";
import {
  type Connection,
  type ConnectionOptions,
  internalsOf,
  openConnection,
  type Parts,
} from "../connection.js";
import { checkDomain } from "../link/domain-name.js";
import { checkInboxPrefix } from "../link/inbox.js";
import type { Link } from "../link/link.js";
import { checkOwner } from "../schema/call-id.js";
import { dial, whyRefused } from "./dial.js";
import { type Environment, readEnvironment } from "./environment.js";
import { readSettings, type Settings } from "./settings.js";

/** How long a lost connection may take before the servers are asked why, in ms. */
const patienceMs = 1_000;

/** Options of {@link connect}. */
export interface ConnectOptions extends ConnectionOptions {
  /**
   * Options of the NATS client; they go before what the environment says. Its
   * credentials are left out when there are any here, and so is its TLS.
   */
  nats?: NodeConnectionOptions | undefined;
  /** Where the settings are read. Default: the process's environment, and `.env` below it. */
  env?: Environment | undefined;
}

/**
 * Connects to NATS as the environment and a `.env` file say: see
 * {@link Environment}. The connection is made anew for ever when it is lost,
 * unless the servers refuse it then: it ends, see {@link Connection.closed}.
 *
 * Errors: Unavailable when no NATS server answers, Unauthenticated when one
 * refuses the credentials or a certificate is refused on either side,
 * FailedPrecondition when it is too old or offers no TLS where it is demanded, and when
 * an optional dependency is not installed,
 * InvalidArgument for wrong settings. No error holds a secret.
 */
export function connect(options: ConnectOptions = {}): Promise<Connection> {
  // Loaded while the server is dialed.
  return connectWith(import("../client/nats-caller.js"), options);
}

/** Connects, for clients with their code. Errors: those of {@link connect}. */
export async function connectWith(
  clients: Promise<Pick<Parts, "createCaller">> | undefined,
  options: ConnectOptions = {},
): Promise<Connection> {
  const { nats: natsOptions = {}, env, ...connectionOptions } = options;
  if (Object(options) !== options || Object(natsOptions) !== natsOptions || "servers" in options) {
    const text =
      'connect: give the address as nats: { servers: "nats://host:port" }, or in NATS_URL';
    throw new ConnectError(text, Code.InvalidArgument);
  }
  const environment = env ?? (await readEnvironment());
  const { inboxPrefix: given } = options;
  const settings = readSettings(environment, {
    ...natsOptions,
    ...(given !== undefined && { inboxPrefix: given }),
  });
  const owner = options.owner ?? environment["JETRPC_OWNER"];
  const { inboxPrefix } = settings.nats;
  if (inboxPrefix) {
    checkInboxPrefix(inboxPrefix);
  }
  if (owner) {
    checkOwner(owner);
  }
  const domain = options.domain ?? environment["JETRPC_DOMAIN"];
  if (domain) {
    checkDomain(domain);
  }
  const nats = await dial(settings);
  try {
    const code = await clients;
    const connection = openConnection(
      nats,
      {
        ...connectionOptions,
        ...(owner && { owner }),
        ...(domain && { domain }),
        ...(inboxPrefix && { inboxPrefix }),
      },
      { ...code, createSha256: () => createHash("sha256") },
    );
    endWhenRefused(internalsOf(connection).link, settings);
    return connection;
  } catch (error) {
    await nats.close();
    throw error;
  }
}

/** Ends a lost connection that is refused: the NATS client would try for ever, in silence. */
function endWhenRefused(link: Link, settings: Settings): void {
  let isAsking = false;
  const ask = async () => {
    while (!link.connected && !link.nats.isClosed()) {
      await link.whenConnected(patienceMs).catch(() => undefined);
      const reason = link.connected ? undefined : await whyRefused(settings);
      if (reason && reason.code !== Code.Unavailable && !link.connected) {
        await link.end(reason);
      }
    }
  };
  link.onDisconnect(() => {
    if (!isAsking) {
      isAsking = true;
      void ask().finally(() => {
        isAsking = false;
      });
    }
  });
}
