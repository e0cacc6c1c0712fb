import { Code, ConnectError } from "@connectrpc/connect";
import type { Msg } from "@nats-io/nats-core";
import { Header, HeaderBlock } from "../message/header.js";
import type { MethodBinding, ServiceBinding } from "../schema/binding.js";
import { directSpace } from "../schema/direct-space.js";
import { chunkSubject } from "../schema/object-name.js";
import { createInbox, inboxRoot } from "./inbox.js";
import type { Link } from "./link.js";
import { startTimer } from "./timer.js";

/** How long servers may take to say which way a message went, in ms. */
const patienceMs = 1_000;

/** Last token of the subjects that are traced: no call has it as its id. */
const traced = "jetrpc-trace";

/**
 * Throws FailedPrecondition when another JetStream domain than the one that is asked
 * stores what is published to a service: a leaf node passes it on, and both sides would
 * run each call. Stores nothing: the server traces a message that it does not deliver
 * (ADR-41). Where these credentials may not do that, nothing is found.
 */
export async function refuseOtherDomain(
  link: Link,
  service: ServiceBinding,
  methods: Iterable<MethodBinding>,
): Promise<void> {
  const domains = await domainsOf(link, tracedSubject(service, methods, link.owner));
  const asked = askedDomain(link) ?? [...domains][0];
  const other = [...domains].find((domain) => domain !== asked);
  if (other !== undefined) {
    throw otherDomain(service.desc.typeName, other, asked);
  }
}

const checks = new WeakMap<Link, Map<ServiceBinding, Promise<void>>>();

/** The same once for each service of a connection, and never where domains have no names. */
export async function refuseOtherDomainOnce(link: Link, method: MethodBinding): Promise<void> {
  if (link.domain === undefined) {
    return;
  }
  const { service } = method;
  const ofLink = checks.get(link) ?? new Map<ServiceBinding, Promise<void>>();
  checks.set(link, ofLink);
  let check = ofLink.get(service);
  if (!check) {
    check = refuseOtherDomain(link, service, [method]);
    ofLink.set(service, check);
    check.catch(() => ofLink.delete(service));
  }
  await check;
}

/** The subject that is traced: workers and clients of these methods may publish to it. */
export function tracedSubject(
  service: ServiceBinding,
  methods: Iterable<MethodBinding>,
  owner: string,
): string {
  const all = [...methods];
  const durable = all.find(({ delivery }) => delivery === "durable");
  const [any = durable] = all;
  return durable
    ? `${durable.queueSubject}.${owner}._.${traced}`
    : chunkSubject(service, any ? `${directSpace(any)}.${traced}` : traced);
}

/** The error of what another domain stores. */
export function otherDomain(what: string, other: string, asked: string | undefined): ConnectError {
  return new ConnectError(
    `${what}: ${show(other)} stores its messages, and this connection asks ${show(asked)}: ` +
      `set the connection's domain (JETRPC_DOMAIN) to that of the streams; where both have them, remove those of one, or its calls run twice`,
    Code.FailedPrecondition,
  );
}

/** The domain that is asked; undefined when this server, having no JetStream, does not say. */
function askedDomain({ domain, nats }: Link): string | undefined {
  return domain ?? (nats.info?.jetstream ? "" : undefined);
}

function show(domain: string | undefined): string {
  return domain ? `JetStream domain "${domain}"` : "the JetStream domain without a name";
}

/** Headers of a message that servers tell of on a subject, and deliver to nobody. */
export function traceHeaders(destination: string): HeaderBlock {
  return (
    new HeaderBlock()
      .add("Nats-Trace-Dest", destination)
      .add("Nats-Trace-Only", "true")
      // A server that knows no traces must not store it.
      .add(Header.expectedStream, "none")
  );
}

/** Where servers tell of it. */
export function traceInbox({ options }: Link): string {
  return createInbox(`${options.inboxPrefix ?? inboxRoot}.trace`);
}

/** The report of a server on a traced message. */
interface Trace {
  readonly server?: { readonly domain?: string };
  /** To how many further servers it went. */
  readonly hops?: number;
  readonly events?: readonly { readonly type: string }[];
}

/** The domains, "" for that without a name, whose streams capture a subject. */
function domainsOf(link: Link, subject: string): Promise<Set<string>> {
  return new Promise((resolve, reject) => {
    const domains = new Set<string>();
    const inbox = traceInbox(link);
    let missing = 1;
    const take = (message: Msg) => {
      const { server, hops = 0, events = [] } = message.json<Trace>();
      missing += hops - 1;
      if (events.some(({ type }) => type === "js")) {
        domains.add(server?.domain ?? "");
      }
      if (missing === 0) {
        finish();
      }
    };
    if (!link.connected) {
      reject(link.lost);
      return;
    }
    const subscription = link.subscribe(inbox, take, { onDenied: () => finish() });
    const stopTimer = startTimer(() => finish(), patienceMs);
    const stopListening = link.onPublishDenied((denied) => {
      if (denied === subject || denied === inbox) {
        finish();
      }
    });
    const finish = () => {
      stopTimer();
      stopListening();
      if (!link.nats.isClosed()) {
        subscription.unsubscribe();
      }
      resolve(domains);
    };
    link.publish(subject, new Uint8Array(0), { headers: traceHeaders(inbox).asHeaders() });
  });
}
