import { apiPrefix } from "../schema/api-prefix.js";
import type { MethodBinding, ServiceBinding } from "../schema/binding.js";
import { bucketStream, chunkSubject } from "../schema/object-name.js";

/** Subjects that someone may publish to and subscribe to; the latter with ` <queue>` for a group only. */
export interface Rights {
  readonly publish: readonly string[];
  readonly subscribe: readonly string[];
}

/** Each subject once, in the order in which it came. */
export function joinRights(all: Iterable<Partial<Rights>>): Rights {
  const publish = new Set<string>();
  const subscribe = new Set<string>();
  for (const rights of all) {
    for (const subject of rights.publish ?? []) {
      publish.add(subject);
    }
    for (const subject of rights.subscribe ?? []) {
      subscribe.add(subject);
    }
  }
  return { publish: [...publish], subscribe: [...subscribe] };
}

/** Subject of a request to JetStream. */
export function api(...tokens: string[]): string {
  return ["$JS.API", ...tokens].join(".");
}

/** Reading the last message of each subject of a pattern, and no other. */
export function readLast(stream: string, pattern: string): string {
  return api("DIRECT.GET", stream, pattern);
}

/**
 * Reading all messages of a pattern, and no other. A consumer that was created is pulled from and
 * deleted by its name, a secret of who created it.
 */
export function readAll(stream: string, pattern: string): string[] {
  return [
    api("CONSUMER.CREATE", stream, "*", pattern),
    api("CONSUMER.MSG.NEXT", stream, "*"),
    api("CONSUMER.DELETE", stream, "*"),
  ];
}

/** Taking what a consumer hands out. */
export function consume(stream: string, consumer: string): string[] {
  return [api("CONSUMER.MSG.NEXT", stream, consumer), `${acks}${stream}.${consumer}.>`];
}

/** The beginning of the subjects of acknowledgements. */
const acks = "$JS.ACK.";

/**
 * The same rights in a JetStream domain: its API has another prefix. Acknowledgements
 * have two forms (ADR-15): the second one, `js_ack_fc_v2`, names the domain and account.
 */
export function inDomain(domain: string | undefined, { publish, subscribe }: Rights): Rights {
  return {
    publish: [
      ...new Set(
        publish.flatMap((subject) =>
          subject.startsWith(acks)
            ? [subject, `${acks}${domain ?? "_"}.*.${subject.slice(acks.length)}`]
            : // Servers of the domain itself are asked by the usual prefix.
              [subject.replace(/^\$JS\.API\./, apiPrefix(domain)), subject],
        ),
      ),
    ],
    subscribe,
  };
}

/** Where requests of a method lie that are due: `<prefix>.due.<queue>.<Method>`. */
export function dueSubjects({ service, queues, desc }: MethodBinding): string[] {
  const kind = (queue: string) => queue.slice(service.prefix.length + 1, -desc.name.length - 1);
  return queues.map(({ subject }) => `${service.prefix}.due.${kind(subject)}.${desc.name}`);
}

/** Which objects someone writes and removes, and which it reads: patterns of their names. */
interface Objects {
  readonly written: readonly string[];
  readonly read: readonly string[];
}

/** Storing, reading and removing large payloads and Blobs. */
export function useObjects(service: ServiceBinding, { written, read }: Objects): readonly string[] {
  const stream = bucketStream(service);
  const chunks = (names: string) => chunkSubject(service, names);
  return [
    ...written.map(chunks),
    // Names are in base64 here: what is written only describes the objects.
    `$O.${service.payloadBucket}.M.*`,
    ...written.map((names) => readLast(stream, chunks(names))),
    ...read.flatMap((names) => readAll(stream, chunks(names))),
  ];
}
