import type { DescService } from "@bufbuild/protobuf";
import {
  bindService,
  type Connection,
  type MethodBinding,
  type ServiceBinding,
} from "@jetrpc/runtime";
import { describeInfrastructure } from "@jetrpc/runtime/operator";
import { errors, headers, type NatsConnection } from "@nats-io/nats-core";
import { error, type Finding, ok } from "./finding.js";

/** Who may need credentials. */
export const roles = ["client", "worker", "administrator"] as const;
export type Role = (typeof roles)[number];

/** Something that a role does, in a way that has no effect. */
interface Act {
  readonly kind: "publish" | "subscribe";
  readonly subject: string;
  /** Makes JetStream refuse the message, so that it is not stored. */
  readonly isStored?: boolean;
}

/** Stands for a call that does not exist. */
const nobody = "_.jetrpc-doctor";

/**
 * Tries what the roles do, and tells which of them these credentials can fill: as
 * an error when they lack something of the role that is asked for, or fill none.
 */
export async function checkPermissions(
  { nats, owner }: Connection,
  service: DescService,
  wanted: Role | undefined,
): Promise<Finding> {
  const binding = bindService(service);
  const { typeName } = service;
  const refused = new Map<Role, string[]>();
  for (const role of roles) {
    refused.set(role, await tryActs(nats, actsOf(role, binding, owner)));
  }
  const can = roles.filter((role) => refused.get(role)?.length === 0);
  const lacks = (role: Role) => `the ${role} needs: ${refused.get(role)?.join(", ")}`;
  const mend = "ask for credentials of that role: `jetrpc permissions` writes them";
  if (wanted && !can.includes(wanted)) {
    return error(`${typeName}: these credentials are refused what ${lacks(wanted)}`, mend);
  }
  return can.length > 0
    ? ok(`${typeName}: these credentials do for the ${can.join(", the ")}`)
    : error(`${typeName}: these credentials do for nobody: ${roles.map(lacks).join("; ")}`, mend);
}

function actsOf(role: Role, service: ServiceBinding, owner: string): Act[] {
  const methods = [...service.methods.values()];
  const durable = methods.filter(({ delivery }) => delivery === "durable");
  switch (role) {
    case "client":
      return methods.flatMap((method) => clientActs(method, owner));
    case "worker":
      return [
        subscribe(`$SRV.PING.${service.desc.typeName.replaceAll(".", "_")}`),
        ...methods.map(({ cancelSubject }) => subscribe(cancelSubject)),
        ...durable.flatMap((method) => workerActs(method, owner)),
      ];
    case "administrator":
      return administratorActs(service);
  }
}

function clientActs(method: MethodBinding, owner: string): Act[] {
  const { delivery, queues, logSubject, liveSubject, cancelSubject, service } = method;
  const log = `${logSubject}.${owner}.${nobody}.entry`;
  return delivery === "direct"
    ? // What is published here says that a caller has left: here it is one that never was.
      [publish(cancelSubject)]
    : [
        ...queues.map(({ subject }) => store(`${subject}.${owner}.${nobody}`)),
        publish(`$JS.API.DIRECT.GET.${service.logStream}.${log}`),
        subscribe(`${liveSubject}.${owner}.${nobody}.>`),
      ];
}

function workerActs({ queues, service, ...method }: MethodBinding, owner: string): Act[] {
  return [
    ...queues.flatMap(({ consumer }) => [
      publish(`$JS.API.CONSUMER.MSG.NEXT.${service.stream}.${consumer}`),
      publish(`$JS.ACK.${service.stream}.${consumer}.1.0.0.0.0`),
    ]),
    store(`${method.logSubject}.${owner}.${nobody}.entry`),
    store(`${method.deadSubject}.${owner}.${nobody}`),
  ];
}

function administratorActs(service: ServiceBinding): Act[] {
  const { streams, payloads } = describeInfrastructure(service);
  return [...streams, payloads].flatMap(({ name }) =>
    ["STREAM.INFO", "STREAM.CREATE", "STREAM.UPDATE", "CONSUMER.LIST"].map((api) =>
      publish(`$JS.API.${api}.${name}`),
    ),
  );
}

const publish = (subject: string): Act => ({ kind: "publish", subject });
const store = (subject: string): Act => ({ kind: "publish", subject, isStored: true });
const subscribe = (subject: string): Act => ({ kind: "subscribe", subject });

/** No JSON, so that an API of JetStream does nothing; without a reply subject nobody answers. */
const nonsense = "jetrpc doctor";

/** Tries acts, and returns which of them the server refused. */
async function tryActs(nats: NatsConnection, acts: readonly Act[]): Promise<string[]> {
  const refused = new Set<string>();
  const key = (kind: string, subject: string) => `to ${kind} to ${subject}`;
  const status = nats.status();
  const watching = (async () => {
    for await (const event of status) {
      if (event.type === "error" && event.error instanceof errors.PermissionViolationError) {
        const kind = event.error.operation === "publish" ? "publish" : "subscribe";
        refused.add(key(kind, event.error.subject));
      }
    }
  })();
  const subscriptions = [];
  for (const { kind, subject, isStored } of acts) {
    if (kind === "subscribe") {
      subscriptions.push(nats.subscribe(subject, { callback: () => undefined }));
    } else {
      const expected = headers();
      expected.set("Nats-Expected-Stream", "jetrpc-doctor");
      nats.publish(subject, nonsense, isStored ? { headers: expected } : {});
    }
  }
  // The server has refused what it refuses when it answers.
  await nats.flush();
  for (const subscription of subscriptions) {
    if (!subscription.isClosed()) {
      subscription.unsubscribe();
    }
  }
  await nats.flush();
  (status as AsyncIterable<unknown> & { stop(): void }).stop();
  await watching;
  return acts.map(({ kind, subject }) => key(kind, subject)).filter((act) => refused.has(act));
}
