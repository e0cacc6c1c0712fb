import type { Connection } from "@jetrpc/runtime";
import { durableMethods, operatorsOf } from "../operators.js";
import type { Schema } from "../schema.js";
import { type SessionOptions, withSession } from "../session.js";
import type { Line } from "./line.js";
import { askingCommands } from "./words.js";

/** Most ids that are offered of each service. */
const maxIds = 50;

/** Names and ids of ours have no other characters, and a shell would run some others. */
const plain = /^[\w=+@:./-]+$/;

/** Asks for what a word may become that is no command and no option. */
type Ask = (connection: Connection, schema: Schema, begun: string) => Promise<string[]>;

/**
 * The names and ids that the last word of a command line may become, as the schema and the
 * server have them. Errors: those of `loadSchema()` and of connecting.
 */
export async function valuesFor(line: Line): Promise<string[]> {
  const ask = askFor(line);
  const { begun, command, options: given, option } = line;
  if (!ask || begun.startsWith("-")) {
    return [];
  }
  const [descriptors, service] = [given.get("--descriptors"), given.get("--service")];
  const [server, domain] = [given.get("--server"), given.get("--domain")];
  const options: SessionOptions = {
    ...(descriptors !== undefined && { descriptors }),
    ...(service !== undefined && option !== "--service" && { service: [service] }),
    ...(server !== undefined && { server }),
    ...(domain !== undefined && { domain }),
  };
  const found = await withSession(options, (connection, schema) => ask(connection, schema, begun), {
    anyService: command === "call",
    owner: given.get("--owner"),
  });
  return offered(found, begun);
}

/** Of names and ids, those that a word may become and that a shell takes as they are, sorted. */
export function offered(found: readonly string[], begun: string): string[] {
  return [...new Set(found)].filter((value) => value.startsWith(begun) && plain.test(value)).sort();
}

function askFor({ command, arguments: count, option }: Line): Ask | undefined {
  const [first = ""] = command.split(" ");
  switch (option) {
    case undefined:
      break;
    case "--service":
      return serviceNames;
    case "--method":
      return first === "dead" ? durableNames : methodNames;
    default:
      return undefined;
  }
  if (count > 0 || !askingCommands.includes(command)) {
    return undefined;
  }
  return { calls: callIds, dead: deadIds }[first] ?? methodNames;
}

const serviceNames: Ask = async (_, { services }) => services.map(({ typeName }) => typeName);

const methodNames: Ask = async (_, { services }) =>
  services.flatMap(({ typeName, methods }) =>
    methods.flatMap(({ name }) => [`${typeName}/${name}`, name]),
  );

const durableNames: Ask = async (_, { services }) =>
  services.flatMap((service) => durableMethods(service).map(({ name }) => name));

const callIds: Ask = async (connection, schema, begun) => {
  const pages = await Promise.all(
    operatorsOf(connection, schema).map(({ operator }) =>
      operator.listCalls(begun === "" ? {} : { callIdPrefix: begun }, { pageSize: maxIds }),
    ),
  );
  return pages.flatMap(({ calls }) => calls.map(({ callId }) => callId));
};

const deadIds: Ask = async (connection, schema) => {
  const ids: string[] = [];
  for (const { operator } of operatorsOf(connection, schema)) {
    for await (const { callId } of operator.deadLetters()) {
      ids.push(callId);
      if (ids.length >= maxIds) {
        return ids;
      }
    }
  }
  return ids;
};
