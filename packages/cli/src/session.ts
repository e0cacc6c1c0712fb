import type { Connection } from "@jetrpc/runtime";
import { connect } from "@jetrpc/runtime/node";
import type { Command } from "commander";
import { UsageError } from "./exit-code.js";
import { loadSchema, type Schema, type SchemaOptions } from "./schema.js";

/** The options of every command that talks to a server. */
export interface SessionOptions extends SchemaOptions {
  server?: string;
  domain?: string;
  json?: boolean;
}

/** Adds the options of every command that reads the schema. */
function addSchemaOptions(command: Command): Command {
  return command
    .option("--descriptors <file>", "FileDescriptorSet or buf image (default: buf builds it here)")
    .option("--service <name>", "full name of a service; repeatable (default: all)", collect)
    .option("--json", "print JSON");
}

/** Adds the options of every command that talks to a server, too. */
export function addSessionOptions(command: Command): Command {
  return addSchemaOptions(command)
    .option("--server <url>", "instead of NATS_URL; without user, password or token")
    .option("--domain <name>", "JetStream domain of the streams (default: JETRPC_DOMAIN)");
}

/** Makes a list of an option that is given several times. */
export function collect(value: string, previous: string[] = []): string[] {
  return [...previous, value];
}

/** Connects as the environment and `.env` say. Errors: those of `connect()`. */
export async function open({ server, domain }: SessionOptions): Promise<Connection> {
  if (server?.includes("@")) {
    throw new UsageError(
      "--server takes no user, password or token, as every process of this machine could read it: use NATS_URL, NATS_TOKEN or the like",
    );
  }
  return await connect({
    ...(server && { nats: { servers: server.split(",") } }),
    ...(domain && { domain }),
  });
}

/** Runs something with the schema and a connection, which it closes. */
export async function withSession<T>(
  options: SessionOptions,
  work: (connection: Connection, schema: Schema) => Promise<T>,
): Promise<T> {
  const schema = await loadSchema(options);
  const connection = await open(options);
  try {
    return await work(connection, schema);
  } finally {
    await connection.close();
  }
}
