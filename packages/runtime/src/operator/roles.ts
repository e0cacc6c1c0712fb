import { tracedSubject } from "../link/domain.js";
import { inboxRoot } from "../link/inbox.js";
import { queueGroup } from "../link/link.js";
import { importedReply } from "../message/frame.js";
import { durableMethods, type MethodBinding, type ServiceBinding } from "../schema/binding.js";
import { directSpace } from "../schema/direct-space.js";
import { describeInfrastructure } from "../schema/infrastructure.js";
import { discoverySubject, microName, type Verb } from "../schema/micro-names.js";
import { bucketStream } from "../schema/object-name.js";
import {
  api,
  consume,
  dueSubjects,
  joinRights,
  type Rights,
  readAll,
  readLast,
  useObjects,
} from "./rights.js";

/** Makes and changes the streams, consumers and buckets of a service: for `jetrpc apply`. */
export function administrator(service: ServiceBinding): Rights {
  const { streams, payloads } = describeInfrastructure(service);
  return {
    publish: [
      api("INFO"),
      api("STREAM.NAMES"),
      // To see which domain stores it: nothing is stored.
      tracedSubject(service, service.methods.values(), "*"),
      ...[...streams, payloads].flatMap(({ name }) => [
        ...["INFO", "CREATE", "UPDATE", "DELETE"].map((verb) => api("STREAM", verb, name)),
        ...["LIST", "NAMES", "CREATE"].map((verb) => api("CONSUMER", verb, name)),
        api("CONSUMER.CREATE", name, ">"),
        api("CONSUMER.INFO", name, "*"),
        api("CONSUMER.DELETE", name, "*"),
      ]),
    ],
    subscribe: [],
  };
}

/** Runs the calls of some methods. */
export function worker(service: ServiceBinding, methods: readonly MethodBinding[]): Rights {
  const verbs: Verb[] = ["PING", "INFO", "STATS"];
  const name = microName(service.desc.typeName);
  return joinRights([
    {
      // Workers reply to any inbox: those of other methods and of JetStream have secrets.
      // Requests of another account, by a service import, have reply subjects of the server.
      publish: [`${inboxRoot}.>`, `${importedReply}>`],
      subscribe: [
        ...verbs.flatMap((verb) => [
          discoverySubject(verb),
          discoverySubject(verb, name),
          discoverySubject(verb, name, "*"),
        ]),
        inGroup(service.describeSubject),
      ],
    },
    ...methods.map((method) =>
      method.delivery === "direct" ? directWorker(method) : durableWorker(method),
    ),
    ...(durableMethods(service).every((method) => methods.includes(method))
      ? [housekeeper(service)]
      : []),
  ]);
}

/**
 * Puts in again what a server forgot. To find it is to read every request, so that
 * workers of some methods may not.
 */
function housekeeper(service: ServiceBinding): Rights {
  const { stream, laterStream } = service;
  const methods = durableMethods(service);
  return {
    publish:
      methods.length === 0
        ? []
        : [
            ...[stream, laterStream].map((each) => api("DIRECT.GET", each)),
            ...methods.flatMap(({ queues, consumer: due, laterSubject }) => [
              ...queues.map(({ consumer }) => api("CONSUMER.INFO", stream, consumer)),
              api("CONSUMER.INFO", laterStream, due),
              `${laterSubject}.>`,
            ]),
          ],
    subscribe: [],
  };
}

function directWorker(method: MethodBinding): Rights {
  return {
    publish: directObjects(method),
    subscribe: [
      // In the group only: a copy of every request would be nobody's work.
      inGroup(method.directSubject),
      inGroup(method.waitSubject),
      method.cancelSubject,
      `${method.service.ackSubject}.>`,
      ...(method.desc.methodKind === "unary" ? [] : [`${method.streamSubject}.>`]),
    ],
  };
}

/** Objects of direct calls are of no owner: their names are hard to guess. */
function directObjects(method: MethodBinding): readonly string[] {
  const names = [`${directSpace(method)}.*`];
  return useObjects(method.service, { written: names, read: names });
}

function durableWorker(method: MethodBinding): Rights {
  const { service, queues, consumer } = method;
  const { name } = method.desc;
  return {
    publish: [
      ...useObjects(service, {
        written: [`queue.${name}.>`, `log.${name}.>`],
        read: [`queue.${name}.>`],
      }),
      readLast(service.deadStream, `${method.deadSubject}.>`),
      ...queues.flatMap((queue) => consume(service.stream, queue.consumer)),
      `${method.logSubject}.>`,
      readLast(service.logStream, `${method.logSubject}.>`),
      ...readAll(service.logStream, `${method.logSubject}.>`),
      `${method.progressSubject}.>`,
      `${method.deadSubject}.>`,
      method.cancelSubject,
      // Calls that are due go to their queues.
      ...consume(service.laterStream, consumer),
      ...queues.flatMap(({ subject }) => [
        `${subject}.>`,
        readLast(service.stream, `${subject}.>`),
      ]),
    ],
    subscribe: [
      method.cancelSubject,
      // To say that it is durable.
      inGroup(method.durableSubject),
    ],
  };
}

/** Calls some methods, as one owner. */
export function client(
  service: ServiceBinding,
  methods: readonly MethodBinding[],
  owner: string,
  mayDelay: boolean,
): Rights {
  const name = microName(service.desc.typeName);
  return joinRights([
    {
      publish: [
        discoverySubject("PING", name),
        discoverySubject("INFO", name),
        service.describeSubject,
      ],
    },
    ...methods.map((method) =>
      method.delivery === "direct" ? directClient(method) : durableClient(method, owner, mayDelay),
    ),
  ]);
}

function directClient(method: MethodBinding): Rights {
  return {
    publish: [
      ...directObjects(method),
      method.directSubject,
      method.waitSubject,
      method.cancelSubject,
      `${method.service.ackSubject}.>`,
      ...(method.desc.methodKind === "unary" ? [] : [`${method.streamSubject}.>`]),
    ],
    subscribe: [],
  };
}

function durableClient(method: MethodBinding, owner: string, mayDelay: boolean): Rights {
  const { service } = method;
  const own = (subject: string) => `${subject}.${owner}.>`;
  const { name } = method.desc;
  return {
    publish: [
      ...useObjects(service, {
        written: [own(`queue.${name}`)],
        // Uploads in parts are read for their digest.
        read: [own(`log.${name}`), own(`queue.${name}`)],
      }),
      // A client that cancels removes objects that no dead letter has.
      readLast(service.deadStream, own(method.deadSubject)),
      ...method.queues.flatMap(({ subject }) => [
        own(subject),
        readLast(service.stream, own(subject)),
      ]),
      ...(mayDelay ? [own(method.laterSubject)] : []),
      ...[method.laterSubject, ...dueSubjects(method)].map((subject) =>
        readLast(service.laterStream, own(subject)),
      ),
      // A client that cancels writes the end of the call.
      own(method.logSubject),
      method.cancelSubject,
      readLast(service.logStream, own(method.logSubject)),
      ...readAll(service.logStream, own(method.logSubject)),
      readLast(service.progressStream, own(method.progressSubject)),
    ],
    subscribe: [own(method.liveSubject)],
  };
}

/** Cares for calls, dead letters, pauses and queues. */
export function operator(service: ServiceBinding): Rights {
  const { stream, logStream, progressStream, deadStream } = service;
  return joinRights([
    reader(service),
    {
      publish: [
        ...useObjects(service, { written: [">"], read: [">"] }),
        // To find what is of no call.
        ...readAll(bucketStream(service), `$O.${service.payloadBucket}.>`),
        ...[stream, service.laterStream, deadStream].map((each) => api("STREAM.MSG.DELETE", each)),
        ...[logStream, progressStream].map((each) => api("STREAM.PURGE", each)),
        ...durableMethods(service).flatMap((method) => [
          ...method.queues.map(({ consumer }) => api("CONSUMER.PAUSE", stream, consumer)),
          // To replay, and to put in the place of a request what cancels its call.
          ...[...method.queues.map(({ subject }) => subject), method.laterSubject].map(
            (subject) => `${subject}.>`,
          ),
          method.cancelSubject,
        ]),
        // A call whose method is gone gets its end and its dead letter.
        `${service.prefix}.dead.>`,
        `${service.prefix}.log.>`,
      ],
    },
  ]);
}

/**
 * Sees calls with their requests and results: who may read the headers of a stream may read its
 * payloads.
 */
export function reader(service: ServiceBinding): Rights {
  const { stream, laterStream, logStream, progressStream, deadStream, prefix } = service;
  return joinRights([
    observer(service),
    {
      publish: [
        ...[stream, laterStream, logStream, deadStream].map((each) => api("DIRECT.GET", each)),
        readLast(logStream, `${prefix}.log.>`),
        readLast(deadStream, `${prefix}.dead.>`),
        ...durableMethods(service).flatMap((method) => [
          ...method.queues.map(({ subject }) => readLast(stream, `${subject}.>`)),
          ...[method.laterSubject, ...dueSubjects(method)].map((subject) =>
            readLast(laterStream, `${subject}.>`),
          ),
          readLast(progressStream, `${method.progressSubject}.>`),
        ]),
        ...readAll(logStream, `${prefix}.log.>`),
        ...readAll(deadStream, `${prefix}.dead.>`),
        ...useObjects(service, { written: [], read: ["queue.>", "log.>"] }).filter(
          (subject) => !subject.startsWith("$O."),
        ),
      ],
    },
  ]);
}

/**
 * Sees who works, how much waits, how streams are set and what the schema is, and neither requests
 * nor results. Not the bucket: the names of objects of direct calls are secrets.
 */
export function observer(service: ServiceBinding): Rights {
  const { streams, consumers } = describeInfrastructure(service);
  const queues = streams.filter(({ retention }) => retention === "workqueue");
  return {
    publish: [
      "$SRV.>",
      service.describeSubject,
      ...streams.map(({ name }) => api("STREAM.INFO", name)),
      // Consumers of other streams are of readers, and their names are secrets.
      ...queues.map(({ name }) => api("CONSUMER.LIST", name)),
      ...consumers.map(({ stream, config }) => api("CONSUMER.INFO", stream, config.name)),
    ],
    subscribe: [],
  };
}

function inGroup(subject: string): string {
  return `${subject} ${queueGroup}`;
}
