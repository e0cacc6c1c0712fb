import type { JsonObject } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@jetrpc/runtime";
import type { DeadLetter, DeadLetterFilter } from "@jetrpc/runtime/operator";
import { codeName } from "@jetrpc/runtime/schema";
import { Command, Option } from "commander";
import { UsageError } from "../exit-code.js";
import { operatorsOf } from "../operators.js";
import { print, printJson, printTable } from "../output.js";
import { addSessionOptions, type SessionOptions, withSession } from "../session.js";

interface Options extends SessionOptions, DeadLetterFilter {
  all?: boolean;
  code?: string;
}

/** A dead letter, and the full name of its service. */
interface Found {
  readonly service: string;
  readonly letter: DeadLetter;
  toJson(): Promise<JsonObject>;
}

/** `jetrpc dead`: calls that failed for good. */
export function deadCommand(): Command {
  const dead = new Command("dead").description("look after calls that failed for good");
  dead.addCommand(
    verb("list", "list them, the oldest first").action((id: string | undefined, given: Options) => {
      const options = withId(id, given);
      return options.json ? showAll(options) : list(options);
    }),
  );
  dead.addCommand(
    verb("show", "show them with their requests, decoded").action(
      (id: string | undefined, options: Options) => showAll(withId(id, options)),
    ),
  );
  dead.addCommand(
    verb("replay", "queue them anew, with the same ids")
      .option("--all", "all of them, without a filter")
      .action((id: string | undefined, options: Options) =>
        change(withId(id, options), "replayed", (letter) => letter.replay()),
      ),
  );
  dead.addCommand(
    verb("discard", "remove them")
      .option("--all", "all of them, without a filter")
      .action((id: string | undefined, options: Options) =>
        change(withId(id, options), "discarded", (letter) => letter.discard()),
      ),
  );
  return dead;
}

function verb(name: string, description: string): Command {
  return addSessionOptions(
    new Command(name)
      .description(description)
      .argument("[call-id]", "with this call id only")
      .option("--method <name>", "of this method only")
      .option("--owner <owner>", "of this owner only")
      .option("--call-id <id>", "the same as the argument")
      .addOption(new Option("--code <code>", "that failed with this code only").choices(codes)),
  );
}

/** Names of all codes, as Connect spells them. */
const codes = Object.values(Code)
  .filter((code) => typeof code === "number")
  .map(codeName);

/** Takes a call id that is an argument for the option. */
function withId(id: string | undefined, options: Options): Options {
  if (id !== undefined && options.callId !== undefined && id !== options.callId) {
    throw new UsageError(`${id} and --call-id ${options.callId}: give one call id`);
  }
  return id === undefined ? options : { ...options, callId: id };
}

/** Does something with every letter that the filter lets through. Throws when a named one is none of them. */
async function each(options: Options, work: (found: Found) => Promise<void>): Promise<number> {
  const { method, owner, callId, code } = options;
  let count = 0;
  await withSession(options, async (connection, schema) => {
    for (const { service, operator } of operatorsOf(connection, schema)) {
      for await (const letter of operator.deadLetters({ method, owner, callId })) {
        if (code !== undefined && codeName(letter.error.code) !== code) {
          continue;
        }
        count++;
        await work({
          service: service.typeName,
          letter,
          toJson: () => letter.toJson(schema.registry),
        });
      }
    }
  });
  if (count === 0 && callId !== undefined) {
    throw new ConnectError(
      `there is no dead letter of the call "${callId}": it is under way, has succeeded, or was replayed or discarded; or --method, --owner or --code is another one (see \`jetrpc dead list\`)`,
      Code.NotFound,
    );
  }
  return count;
}

async function list(options: Options): Promise<void> {
  const rows: string[][] = [];
  await each(options, async ({ service, letter }) => {
    const { method, owner, callId, attempts, failedAt, error } = letter;
    rows.push([
      failedAt.toISOString(),
      `${service}.${method}`,
      owner,
      callId,
      `${attempts}`,
      `${codeName(error.code)}: ${oneLine(error.rawMessage)}`,
    ]);
  });
  if (rows.length === 0) {
    print("no dead letters");
  } else {
    printTable(["FAILED AT", "METHOD", "OWNER", "CALL ID", "ATTEMPTS", "ERROR"], rows);
  }
}

async function showJson({ service, toJson }: Found): Promise<void> {
  printJson({ service, ...(await toJson()) });
}

async function show({ service, toJson }: Found): Promise<void> {
  print(JSON.stringify({ service, ...(await toJson()) }, null, 2));
}

async function showAll(options: Options): Promise<void> {
  const count = await each(options, options.json ? showJson : show);
  if (!options.json && count === 0) {
    print("no dead letters");
  }
}

async function change(
  options: Options,
  done: string,
  work: (letter: DeadLetter) => Promise<void>,
): Promise<void> {
  const { all, method, owner, callId, code, json } = options;
  const isFiltered = [method, owner, callId, code].some((value) => value !== undefined);
  if (isFiltered === Boolean(all)) {
    throw new UsageError(
      "say which: a call id, --method, --owner or --code, or --all (see them with `jetrpc dead list`)",
    );
  }
  const count = await each(options, async ({ service, letter }) => {
    await work(letter);
    if (json) {
      const { method, owner, callId } = letter;
      printJson({ service, method, owner, callId, [done]: true });
    } else {
      print(`${done} ${service}.${letter.method} ${letter.owner} ${letter.callId}`);
    }
  });
  if (!json && count === 0) {
    print("no dead letters");
  }
}

function oneLine(text: string): string {
  return text.replace(/\s+/g, " ");
}
