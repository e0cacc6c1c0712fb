import type { NatsServer } from "@jetrpc/testing";
import {
  type ConnectionOptions,
  connect,
  type Msg,
  type NatsConnection,
} from "@nats-io/transport-node";

/** Does something on a connection to whichever server answers; nothing when none is there. */
export async function withConnection<T>(
  servers: readonly NatsServer[],
  options: ConnectionOptions,
  use: (nats: NatsConnection) => Promise<T>,
): Promise<T | undefined> {
  try {
    const urls = servers.map(({ url }) => url);
    const nats = await connect({ servers: urls, timeout: 2000, ...options });
    const result = await use(nats);
    await nats.close();
    return result;
  } catch {
    return undefined;
  }
}

/** Sends a request, and does not repeat it when there is no answer. */
export function ask(
  servers: readonly NatsServer[],
  subject: string,
  options: ConnectionOptions = {},
): Promise<Msg | undefined> {
  return withConnection(servers, options, (nats) =>
    nats.request(subject, undefined, { timeout: 3000 }),
  );
}
