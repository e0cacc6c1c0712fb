import { readFileSync } from "node:fs";
import type { DescService } from "@bufbuild/protobuf";
import type { Grant, User } from "@jetrpc/runtime/operator";
import { UsageError } from "./exit-code.js";
import { methodsOfServices } from "./find-method.js";
import { oneLine } from "./output.js";

/** An account and its users. */
export interface Account {
  readonly name: string;
  readonly users: readonly User[];
}

/** A grant as the file has it: a service by its full name; without one, all. */
type GrantText = Omit<Grant, "service"> & { readonly service?: string };

/**
 * Reads who is to be made: an object of accounts, each an object of users, each a
 * list of grants. Throws UsageError when it is not so, or names a service that is not
 * in the schema.
 */
export function readUsers(
  path: string,
  services: readonly DescService[],
  domain?: string,
): Account[] {
  return Object.entries(object(parse(path), path)).map(([name, users]) => ({
    name,
    users: Object.entries(object(users, `account ${name}`)).map(([user, grants]) => ({
      name: user,
      ...(domain && { domain }),
      grants: list(grants, `user ${user}`).flatMap((grant) => resolve(grant, user, services)),
    })),
  }));
}

function parse(path: string): unknown {
  try {
    return JSON.parse(readFileSync(path, "utf8"));
  } catch (cause) {
    throw new UsageError(`${path} cannot be read as JSON: ${oneLine(String(cause))}`);
  }
}

const fields = ["role", "service", "methods", "owner", "mayDelay", "mayRead"];

function resolve(grant: unknown, user: string, services: readonly DescService[]): Grant[] {
  const text = object(grant, `a grant of user ${user}`);
  const unknown = Object.keys(text).find((key) => !fields.includes(key));
  if (unknown !== undefined) {
    throw new UsageError(`a grant of user ${user} has ${unknown}: there are ${fields.join(", ")}`);
  }
  const { service: name, ...rest } = text as unknown as GrantText;
  if (name === undefined && Array.isArray(rest.methods)) {
    return [...methodsOfServices(services, rest.methods.map(String))].map(([service, methods]) => ({
      ...rest,
      service,
      methods,
    }));
  }
  const meant = services.filter(({ typeName }) => name === undefined || typeName === name);
  if (meant.length === 0) {
    const known = services.map(({ typeName }) => typeName).join(", ");
    throw new UsageError(`user ${user}: the schema has no service ${name}: it has ${known}`);
  }
  return meant.map((service) => ({ ...rest, service }));
}

function object(value: unknown, what: string): Record<string, unknown> {
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw new UsageError(`${what} must be a JSON object`);
  }
  return value as Record<string, unknown>;
}

function list(value: unknown, what: string): unknown[] {
  if (!Array.isArray(value)) {
    throw new UsageError(`${what} must be a list of grants`);
  }
  return value;
}
