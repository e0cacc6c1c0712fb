import { type Connection, internalsOf } from "../connection.js";
import { traceHeaders, traceInbox } from "../link/domain.js";
import type { Link } from "../link/link.js";
import { type Grant, rightsOf } from "./permissions.js";
import { inDomain, joinRights } from "./rights.js";

/** Stands for what `*` and `>` mean: nothing is called so. */
const anything = "jetrpc-doctor";

/** Requests that are not even tried. */
const removes = /^\$JS\.\w*\.?API\.STREAM\.(DELETE|PURGE)\./;

/**
 * Tries what grants need, with no effect, and returns what the server refuses these
 * credentials: `to publish to …`, `to subscribe to …`. Where they may not have a message
 * traced, that is all that is tried. Not tried is what takes requests from workers, and
 * what removes streams.
 *
 * Throws InvalidArgument for impossible grants, Unavailable when the connection is lost.
 */
export async function findRefused(
  connection: Connection,
  grants: readonly Grant[],
): Promise<string[]> {
  const { link } = internalsOf(connection);
  const { publish, subscribe } = inDomain(
    link.options.domain,
    joinRights(grants.map((grant) => rightsOf(grant))),
  );
  const inbox = traceInbox(link);
  const traces = await tryAll(link, [inbox], [], inbox);
  if (traces.length > 0 || link.mux.deafness) {
    const prefix = inbox.slice(0, inbox.lastIndexOf("."));
    return link.mux.deafness ? [link.mux.deafness.rawMessage] : [`to publish to ${prefix}.*`];
  }
  const concrete = (pattern: string) => pattern.replaceAll(/[*>]/g, anything);
  return await tryAll(
    link,
    publish.map(concrete).filter((subject) => !removes.test(subject)),
    subscribe.filter((subject) => !subject.includes(" ")),
    inbox,
  );
}

async function tryAll(
  link: Link,
  publish: readonly string[],
  subscribe: readonly string[],
  traces: string,
): Promise<string[]> {
  const refused = new Set<string>();
  const stopListening = link.onPublishDenied(
    // All else that is sent meanwhile is heard of, too.
    (subject) => publish.includes(subject) && refused.add(`to publish to ${subject}`),
  );
  const subscriptions = subscribe.map((subject) =>
    link.subscribe(subject, () => undefined, {
      onDenied: () => refused.add(`to subscribe to ${subject}`),
    }),
  );
  const headers = traceHeaders(traces).asHeaders();
  for (const subject of publish) {
    link.publish(subject, new TextEncoder().encode(anything), { headers });
  }
  // The server has refused what it refuses when it answers; the NATS client tells a turn later.
  await link.nats.flush();
  await new Promise((resolve) => setTimeout(resolve));
  stopListening();
  for (const subscription of subscriptions) {
    if (!subscription.isClosed()) {
      subscription.unsubscribe();
    }
  }
  return [...refused];
}
