import type { Connection } from "@jetrpc/runtime";
import { durableMethods, operatorsOf } from "../operators.js";
import type { Schema } from "../schema.js";
import { type SessionOptions, withSession } from "../session.js";

/** Most ids that are offered of each service. */
const maxIds = 50;

/** Commands whose first argument is the name of a method; `call` takes direct ones, too. */
const ofMethods = ["call", "pause", "resume"];

/** Subcommands of `calls` whose first argument is the id of a call. */
const ofCalls = ["show", "follow", "result", "cancel"];

/** Asks for what a word may become that is no command and no option. */
type Ask = (connection: Connection, schema: Schema, begun: string) => Promise<string[]>;

/**
 * The names and ids that the last word of a command line may become, as the schema and the
 * server have them. Errors: those of `loadSchema()` and of connecting.
 */
export async function valuesFor(words: readonly string[]): Promise<string[]> {
  const ask = askFor(words);
  const begun = words.at(-1) ?? "";
  if (!ask || begun.startsWith("-")) {
    return [];
  }
  const option = (name: string) => {
    const at = words.lastIndexOf(name, words.length - 2);
    return at < 0 ? undefined : words[at + 1];
  };
  const [descriptors, service] = [option("--descriptors"), option("--service")];
  const [server, domain] = [option("--server"), option("--domain")];
  const options: SessionOptions = {
    ...(descriptors !== undefined && { descriptors }),
    ...(service !== undefined && words.at(-2) !== "--service" && { service: [service] }),
    ...(server !== undefined && { server }),
    ...(domain !== undefined && { domain }),
  };
  const found = await withSession(options, (connection, schema) => ask(connection, schema, begun), {
    anyService: words[0] === "call",
    owner: option("--owner"),
  });
  return [...new Set(found)].filter((value) => value.startsWith(begun)).sort();
}

function askFor(words: readonly string[]): Ask | undefined {
  const [first = "", second = ""] = words;
  switch (words.at(-2)) {
    case "--service":
      return serviceNames;
    case "--method":
      return first === "dead" ? durableNames : methodNames;
  }
  if (ofMethods.includes(first)) {
    return words.length === 2 ? methodNames : undefined;
  }
  if (first === "calls" && ofCalls.includes(second) && words.length === 3) {
    return callIds;
  }
  return first === "dead" && words.length === 3 ? deadIds : undefined;
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
