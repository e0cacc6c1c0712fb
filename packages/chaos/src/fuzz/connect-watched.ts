import { type Connection, type ConnectionOptions, createConnection } from "@jetrpc/runtime";
import { connect, type SubscriptionOptions } from "@nats-io/transport-node";

/**
 * Connects to NATS_URL, and prints what a callback throws: the NATS client passes it over,
 * reads no more, and leaves a process that is alive and deaf.
 */
export async function connectWatched(options: ConnectionOptions): Promise<Connection> {
  const servers = process.env["NATS_URL"] ?? "";
  const nats = await connect({ servers, maxReconnectAttempts: -1 });
  const subscribe = nats.subscribe.bind(nats);
  nats.subscribe = (subject: string, given: SubscriptionOptions = {}) => {
    const { callback } = given;
    return subscribe(subject, {
      ...given,
      ...(callback && {
        callback: (error, message) => {
          try {
            return callback(error, message);
          } catch (thrown) {
            const text = thrown instanceof Error ? thrown.stack : thrown;
            process.stderr.write(`a callback of ${subject} threw: ${text}\n`);
            throw thrown;
          }
        },
      }),
    });
  };
  return createConnection(nats, options);
}
