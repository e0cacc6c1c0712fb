import { ConnectError, type Connection } from "@jetrpc/runtime";
import { type ConnectOptions, connect } from "@jetrpc/runtime/node";
import type { Command } from "commander";
import { UsageError } from "./exit-code.js";
import { environment, givenEnv } from "./host.js";
import {
  describedSchema,
  hasSchema,
  loadSchema,
  type Schema,
  type SchemaOptions,
} from "./schema.js";

/** The options of every command that talks to a server. */
export interface ServerOptions {
  server?: string;
  domain?: string;
  json?: boolean;
}

/** The options of every command that reads the schema, too. */
export interface SessionOptions extends ServerOptions, SchemaOptions {}

/** Adds the options of every command that reads the schema. */
function addSchemaOptions(command: Command): Command {
  return command
    .option(
      "--descriptors <file>",
      "FileDescriptorSet or buf image (default: buf builds it here, or workers tell it)",
    )
    .option("--service <name>", "full name of a service; repeatable (default: all)", collect);
}

/** Adds the options of every command that reads the schema and talks to a server. */
export function addSessionOptions(command: Command): Command {
  return addServerOptions(addSchemaOptions(command));
}

/** Adds the options of every command that talks to a server. */
export function addServerOptions(command: Command): Command {
  return command
    .option("--json", "print JSON")
    .option("--server <url>", "instead of NATS_URL; without user, password or token")
    .option("--domain <name>", "JetStream domain of the streams (default: JETRPC_DOMAIN)");
}

/**
 * Takes an option of which one value is meant. The last of two would win in silence, and where others
 * are repeatable, as `--state`, people mean both. Throws UsageError.
 */
export function single(option: string): (value: string, previous?: string) => string {
  return (value, previous) => {
    if (previous !== undefined && previous !== value) {
      throw new UsageError(`${option} is given twice, ${previous} and ${value}: give it once`);
    }
    return value;
  };
}

/** Makes a list of an option that is given several times. */
export function collect(value: string, previous: string[] = []): string[] {
  return [...previous, value];
}

/** Connects as the environment and `.env` say, for an owner. Errors: those of `connect()`. */
export async function open(
  { server, domain }: ServerOptions,
  owner?: string,
  more: Pick<ConnectOptions, "onWaiting"> = {},
): Promise<Connection> {
  if (server?.includes("@")) {
    throw new UsageError(
      "--server takes no user, password or token, as every process of this machine could read it: use NATS_URL, NATS_TOKEN or the like",
    );
  }
  try {
    return await connect({
      env: server ? { ...(await environment()), NATS_URL: server } : givenEnv(),
      ...(domain && { domain }),
      ...(owner && { owner }),
      ...more,
    });
  } catch (error) {
    throw server ? namingServer(error) : error;
  }
}

/** The error of connecting, with the name of what gave the address. */
function namingServer(error: unknown): ConnectError {
  const { rawMessage, code, cause } = ConnectError.from(error);
  const text = rawMessage.replaceAll("NATS_URL", "--server");
  return new ConnectError(text, code, undefined, undefined, cause);
}

/** Runs something with a connection, which it closes. */
export async function withConnection<T>(
  options: ServerOptions,
  work: (connection: Connection) => Promise<T>,
): Promise<T> {
  const connection = await open(options);
  try {
    return await work(connection);
  } finally {
    await connection.close();
  }
}

/** What else {@link withSession} is to do. */
interface SessionNeeds extends Pick<ConnectOptions, "onWaiting"> {
  /** What running workers describe will not do. */
  readonly isSchemaNeeded?: boolean;
  /** Services without durable methods and options of jetrpc are meant, too. */
  readonly anyService?: boolean;
  /** Name of the service that is meant, if there is one of this name. */
  readonly likely?: string | undefined;
  readonly owner?: string | undefined;
}

/**
 * Runs something with the schema and a connection, which it closes. Where nobody says where the
 * schema is, it is what running workers describe.
 */
export async function withSession<T>(
  options: SessionOptions,
  work: (connection: Connection, schema: Schema) => Promise<T>,
  { isSchemaNeeded, likely, owner, onWaiting, ...of }: SessionNeeds = {},
): Promise<T> {
  const isHere = isSchemaNeeded || (await hasSchema(options));
  const schema = isHere ? await loadSchema(options, of) : undefined;
  const connection = await open(options, owner, { onWaiting });
  try {
    return await work(
      connection,
      schema ?? (await describedSchema(connection, options.service, likely)),
    );
  } finally {
    await connection.close();
  }
}
