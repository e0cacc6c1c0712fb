import { Code, ConnectError } from "@connectrpc/connect";
import { setSha256Backend } from "@nats-io/obj";
import {
  connect as connectNats,
  errors,
  type NatsConnection,
  type NodeConnectionOptions,
} from "@nats-io/transport-node";
import { type Connection, type ConnectionOptions, createConnection } from "../connection.js";
import { natsOptions, readEnvironment } from "./environment.js";

/** Options of {@link connect}. */
export interface ConnectOptions extends ConnectionOptions {
  /** Options of the NATS client; they go before what the environment says. */
  nats?: NodeConnectionOptions;
}

/**
 * Connects to NATS as the environment and a `.env` file say: see
 * {@link Environment}. The connection is made anew for ever when it is lost.
 *
 * Errors: Unavailable when no server answers, Unauthenticated when it refuses
 * the credentials, FailedPrecondition when it is too old, InvalidArgument for
 * wrong settings.
 */
export async function connect(options: ConnectOptions = {}): Promise<Connection> {
  const { nats: natsOverrides, ...connectionOptions } = options;
  const environment = readEnvironment();
  const settings = { ...natsOptions(environment), ...natsOverrides };
  const owner = options.owner ?? environment["JETRPC_OWNER"];
  const inboxPrefix = options.inboxPrefix ?? settings.inboxPrefix;
  const nats = await open(settings);
  // Large payloads are hashed; Node's own hash is several times as fast.
  setSha256Backend("native");
  try {
    return createConnection(nats, {
      ...connectionOptions,
      ...(owner && { owner }),
      ...(inboxPrefix && { inboxPrefix }),
    });
  } catch (error) {
    await nats.close();
    throw error;
  }
}

async function open(settings: NodeConnectionOptions): Promise<NatsConnection> {
  try {
    return await connectNats(settings);
  } catch (cause) {
    const where = withoutSecrets(settings.servers);
    if (cause instanceof errors.AuthorizationError || isAuthorizationText(cause)) {
      throw new ConnectError(
        `the NATS server at ${where} refuses these credentials: check NATS_TOKEN, NATS_USER and NATS_PASSWORD, NATS_NKEY_SEED or NATS_CREDS`,
        Code.Unauthenticated,
        undefined,
        undefined,
        cause,
      );
    }
    throw new ConnectError(
      `no NATS server answers at ${where}: start one, or set NATS_URL`,
      Code.Unavailable,
      undefined,
      undefined,
      cause,
    );
  }
}

function isAuthorizationText(cause: unknown): boolean {
  return cause instanceof Error && /authorization violation|authentication/i.test(cause.message);
}

/** URLs may hold a user and a password. */
function withoutSecrets(servers: string | string[] | undefined): string {
  return [servers ?? []]
    .flat()
    .map((url) => url.replace(/^([a-z]+:\/\/)?[^@/]*@/i, "$1"))
    .join(", ");
}
