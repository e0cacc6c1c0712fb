import type { NatsServer } from "@jetrpc/testing";
import { type ConnectionOptions, connect, type Msg } from "@nats-io/transport-node";

/**
 * Sends requests to whichever server answers, one after another until `isEnough`, and
 * returns the last answer. What is not answered is left at that.
 */
export async function ask(
  servers: readonly NatsServer[],
  requests: Iterable<readonly [string, (string | Uint8Array)?]>,
  user: ConnectionOptions = {},
  isEnough: (reply: Msg) => boolean = () => false,
): Promise<Msg | undefined> {
  let reply: Msg | undefined;
  try {
    const nats = await connect({ servers: servers.map(({ url }) => url), timeout: 2000, ...user });
    for (const [subject, payload] of requests) {
      reply = await nats.request(subject, payload, { timeout: 3000 }).catch(() => undefined);
      if (reply && isEnough(reply)) {
        break;
      }
    }
    await nats.close();
  } catch {
    // No server is there right now.
  }
  return reply;
}
