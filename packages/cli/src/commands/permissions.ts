import type { DescService } from "@bufbuild/protobuf";
import {
  type Permissions,
  permissionsOf,
  type Role,
  toJwtClaims,
  toServerConfig,
  type User,
} from "@jetrpc/runtime/operator";
import { Command, Option } from "commander";
import { UsageError } from "../exit-code.js";
import { methodsOfServices } from "../find-method.js";
import { print, printJson } from "../output.js";
import { loadSchema, type SchemaOptions } from "../schema.js";
import { collect } from "../session.js";
import { keyOf } from "../user-keys.js";
import { type Account, readUsers } from "../users.js";

interface Options extends SchemaOptions {
  users?: string;
  role?: Role;
  name?: string;
  method?: string[];
  owner?: string;
  mayDelay?: boolean;
  mayRead?: boolean;
  domain?: string;
  account: string;
  format?: "conf" | "jwt" | "json";
  json?: boolean;
  keys?: string;
}

const roles: Role[] = ["administrator", "worker", "client", "operator", "observer"];

/** `jetrpc permissions`: what users may do, from the schema. */
export function permissionsCommand(): Command {
  return new Command("permissions")
    .option("--descriptors <file>", "FileDescriptorSet or buf image (default: buf builds it here)")
    .option("--service <name>", "full name of a service; repeatable (default: all)", collect)
    .option("--users <file>", "JSON: account, user, its grants; instead of the options below")
    .addOption(new Option("--role <role>", "what the user is").choices(roles))
    .option("--name <user>", "name of the user (default: its role)")
    .option("--method <name>", "of a worker or client; repeatable (default: all)", collect)
    .option("--owner <owner>", "of a client: whose calls it makes (default: _)")
    .option("--may-delay", "of a client: it may submit with notBefore")
    .option("--may-read", "of an observer: it may list calls, and see requests and results")
    .option("--domain <name>", "JetStream domain that the users ask for (default: none)")
    .option("--account <name>", "account of the user", "JETRPC")
    .addOption(
      new Option(
        "--format <format>",
        "nats-server.conf, claims of a JWT, or subjects (default: conf)",
      ).choices(["conf", "jwt", "json"]),
    )
    .option("--json", "the same as --format json")
    .option("--keys <folder>", "with conf: where <user>.env files with the users' seeds are")
    .action(permissions);
}

async function permissions(options: Options): Promise<void> {
  const { services } = await loadSchema(options);
  const accounts = accountsOf(options, services);
  const format = options.format ?? (options.json ? "json" : "conf");
  if (format === "conf" && options.json) {
    throw new UsageError("--json and --format conf exclude each other: remove one");
  }
  if (format === "conf") {
    const folder = options.keys;
    if (folder === undefined) {
      throw new UsageError(
        "--format conf makes keys for the users: say where to, with --keys FOLDER",
      );
    }
    print(
      toServerConfig(
        accounts.map(({ name, users }) => ({
          name,
          users: users.map((user) => ({
            name: user.name,
            publicKey: keyOf(folder, user),
            permissions: permissionsOf(user),
          })),
        })),
      ).trimEnd(),
    );
    return;
  }
  const show = (each: Permissions) => (format === "jwt" ? toJwtClaims(each) : each);
  for (const { name: account, users } of accounts) {
    for (const user of users) {
      printJson({ account, user: user.name, ...show(permissionsOf(user)) });
    }
  }
}

function accountsOf(options: Options, services: readonly DescService[]): Account[] {
  const { users, role, name, method, owner, mayDelay, mayRead, domain, account } = options;
  if ((users === undefined) === (role === undefined)) {
    throw new UsageError(`give --users FILE, or --role and what belongs to it`);
  }
  if (users !== undefined) {
    return readUsers(users, services, domain);
  }
  const grants = [...methodsOfServices(services, method)].map(([service, methods]) => ({
    role: role as Role,
    service,
    ...(methods && { methods }),
    ...(owner !== undefined && { owner }),
    ...(mayDelay && { mayDelay }),
    ...(mayRead && { mayRead }),
  }));
  const user: User = { name: name ?? (role as string), grants, ...(domain && { domain }) };
  return [{ name: account, users: [user] }];
}
