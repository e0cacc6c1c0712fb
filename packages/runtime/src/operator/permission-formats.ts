import { Code, ConnectError } from "@connectrpc/connect";
import { nkeys } from "@nats-io/nats-core";
import type { Permissions } from "./permissions.js";

/** A key pair by which a user proves who it is. */
export interface UserKey {
  /** For the server: what begins with `U`. */
  readonly publicKey: string;
  /** For the user alone: what begins with `SU`, as `NATS_NKEY_SEED`. */
  readonly seed: string;
}

/** Makes a key pair. The server never learns the seed, so its configuration holds no secret. */
export function createUserKey(): UserKey {
  const pair = nkeys.createUser();
  return { publicKey: pair.getPublicKey(), seed: new TextDecoder().decode(pair.getSeed()) };
}

/** A user as a server's configuration has it. */
export interface ConfiguredUser {
  readonly name: string;
  /** See {@link UserKey.publicKey}. */
  readonly publicKey: string;
  readonly permissions: Permissions;
}

/** An account: what is sent in one is not heard in another. */
export interface ConfiguredAccount {
  readonly name: string;
  readonly users: readonly ConfiguredUser[];
}

/**
 * The `accounts` block of nats-server.conf, each account with JetStream. It holds no
 * secrets. Throws InvalidArgument for an impossible name of an account.
 */
export function toServerConfig(accounts: readonly ConfiguredAccount[]): string {
  return ["accounts {", ...accounts.flatMap(accountBlock), "}", ""].join("\n");
}

function accountBlock({ name, users }: ConfiguredAccount): string[] {
  if (!/^[A-Za-z][A-Za-z0-9_-]*$/.test(name)) {
    throw new ConnectError(
      `account "${name}" must be a letter and then letters, digits, "-" or "_"`,
      Code.InvalidArgument,
    );
  }
  return [
    `  ${name} {`,
    "    jetstream: enabled",
    "    users: [",
    ...users.flatMap(userBlock),
  ].concat(["    ]", "  }"]);
}

function userBlock({ name, publicKey, permissions }: ConfiguredUser): string[] {
  return [
    `      # ${name}`,
    "      {",
    `        nkey: ${publicKey}`,
    "        permissions {",
    ...listBlock("publish", permissions.publish),
    ...listBlock("subscribe", permissions.subscribe),
    "        }",
    "      }",
  ];
}

function listBlock(name: string, { allow, deny }: Permissions["publish"]): string[] {
  const list = (key: string, subjects: readonly string[]) =>
    subjects.length === 0
      ? []
      : [
          `            ${key}: [`,
          // Quoted: a `$` is a variable otherwise.
          ...subjects.map((subject) => `              ${JSON.stringify(subject)}`),
          "            ]",
        ];
  return [`          ${name} {`, ...list("allow", allow), ...list("deny", deny), "          }"];
}

/** The part of a user's JWT that says what it may do. */
export interface JwtClaims {
  readonly nats: {
    readonly pub: JwtPermission;
    readonly sub: JwtPermission;
  };
}

/** Subjects; a list that is empty is left out. */
export interface JwtPermission {
  readonly allow?: readonly string[];
  readonly deny?: readonly string[];
}

/** The permissions as claims of a user's JWT, for `nsc` or another signer. */
export function toJwtClaims({ publish, subscribe }: Permissions): JwtClaims {
  return { nats: { pub: jwtPermission(publish), sub: jwtPermission(subscribe) } };
}

function jwtPermission({ allow, deny }: Permissions["publish"]): JwtPermission {
  return { ...(allow.length > 0 && { allow }), ...(deny.length > 0 && { deny }) };
}
