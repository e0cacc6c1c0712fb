import type { DescService } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";
import { checkDomain } from "../link/domain-name.js";
import { inboxRoot } from "../link/inbox.js";
import { bindService } from "../schema/bind-service.js";
import type { MethodBinding, ServiceBinding } from "../schema/binding.js";
import { anyOwner, checkOwner } from "../schema/call-id.js";
import { inDomain, joinRights, type Rights } from "./rights.js";
import { administrator, client, observer, operator, reader, worker } from "./roles.js";

/**
 * The role of a user in a service; docs/security.md says what each may do.
 *
 * - `administrator`: makes and changes streams, consumers and buckets.
 * - `worker`: runs calls.
 * - `client`: makes calls, and reads the results of its owner's.
 * - `operator`: finds calls and acts on them, cares for dead letters, pauses and queues.
 * - `observer`: sees who works and how much waits.
 */
export type Role = "administrator" | "worker" | "client" | "operator" | "observer";

/** The role of a user in one service. */
export interface Grant {
  role: Role;
  service: DescService;
  /** Names of the methods that a worker runs or a client calls. Default: all. */
  methods?: readonly string[] | undefined;
  /** Of a client: whose durable calls it makes. Default: `_`. */
  owner?: string | undefined;
  /**
   * Of a client: it may submit with `notBefore`. A user who may do that can remove the
   * delayed calls of others, and read their requests. Default: false.
   */
  mayDelay?: boolean | undefined;
  /**
   * Of an observer: it may list calls and see their requests and results; a server cannot show
   * one without the other. Default: false.
   */
  mayRead?: boolean | undefined;
}

/** A user of a NATS server. */
export interface User {
  /** Letters, digits, `-` and `_`. Its inboxes begin with {@link inboxPrefixOf} it. */
  name: string;
  grants: readonly Grant[];
  /** JetStream domain that the user's connections ask for. Default: none. */
  domain?: string | undefined;
}

/** Permissions as NATS has them. */
export interface Permissions {
  readonly publish: PermissionList;
  readonly subscribe: PermissionList;
}

/** Subjects with wildcards. A subject that `allow` lacks is denied. */
export interface PermissionList {
  readonly allow: readonly string[];
  readonly deny: readonly string[];
}

/**
 * The beginning of a user's inboxes: nobody else may listen there. The user's
 * connections need it as `inboxPrefix`, or as `NATS_INBOX_PREFIX`.
 * Throws InvalidArgument for an impossible name.
 */
export function inboxPrefixOf(name: string): string {
  if (!/^[A-Za-z0-9_-]{1,128}$/.test(name)) {
    throw new ConnectError(
      `user "${name}" must be 1 to 128 letters, digits, "-" or "_"`,
      Code.InvalidArgument,
    );
  }
  return `${inboxRoot}.${name}`;
}

/**
 * The least permissions with which a user can do all of its roles.
 *
 * Throws InvalidArgument for an impossible name, owner or domain, a method that the service
 * does not have, and a grant that says what its role has no use for.
 */
export function permissionsOf({ name, grants, domain }: User): Permissions {
  const prefix = inboxPrefixOf(name);
  // Servers tell it which way a message goes, and which domain stores it.
  const inbox = { publish: [`${prefix}.trace.*`], subscribe: [`${prefix}.>`] };
  const { publish, subscribe } = inDomain(
    domain === undefined ? undefined : checkDomain(domain),
    joinRights([inbox, ...grants.map(rightsOf)]),
  );
  return { publish: { allow: publish, deny: [] }, subscribe: { allow: subscribe, deny: [] } };
}

/** The permissions of a grant, without the user's inbox. Errors: those of {@link permissionsOf}. */
export function rightsOf(grant: Grant): Rights {
  const { role, owner = anyOwner, mayDelay = false, mayRead = false } = grant;
  const service = bindService(grant.service);
  checkGrant(grant);
  switch (role) {
    case "administrator":
      return administrator(service);
    case "worker":
      return worker(service, methodsOf(service, grant.methods));
    case "client":
      return client(service, methodsOf(service, grant.methods), checkOwner(owner), mayDelay);
    case "operator":
      return operator(service);
    default:
      return mayRead ? reader(service) : observer(service);
  }
}

function methodsOf(service: ServiceBinding, names: readonly string[] | undefined): MethodBinding[] {
  const all = [...service.methods.values()];
  return (
    names?.map((name) => {
      const method = all.find(({ desc }) => desc.name === name || desc.localName === name);
      if (!method) {
        throw new ConnectError(
          `${service.desc.typeName} has no method ${name}: it has ${all.map(({ desc }) => desc.name).join(", ")}`,
          Code.InvalidArgument,
        );
      }
      return method;
    }) ?? all
  );
}

function checkGrant({ role, methods, owner, mayDelay, mayRead }: Grant): void {
  const roles: readonly string[] = ["administrator", "worker", "client", "operator", "observer"];
  if (!roles.includes(role)) {
    throw new ConnectError(
      `there is no role "${role}": it is one of ${roles.join(", ")}`,
      Code.InvalidArgument,
    );
  }
  const useless =
    (methods && role !== "worker" && role !== "client" && "methods") ||
    (owner !== undefined && role !== "client" && "an owner") ||
    (mayDelay && role !== "client" && "mayDelay") ||
    (mayRead && role !== "observer" && "mayRead");
  if (useless) {
    throw new ConnectError(
      `a grant of role ${role} has no use for ${useless}`,
      Code.InvalidArgument,
    );
  }
}
