import type { JsonObject } from "@bufbuild/protobuf";
import { Code } from "@jetrpc/runtime";
import type { DeadLetter, DeadLetterFilter } from "@jetrpc/runtime/operator";
import { Command } from "commander";
import { UsageError } from "../exit-code.js";
import { operatorsOf } from "../operators.js";
import { print, printJson, printTable } from "../output.js";
import { addSessionOptions, type SessionOptions, withSession } from "../session.js";

interface Options extends SessionOptions, DeadLetterFilter {
  all?: boolean;
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
    verb("list", "list them, the oldest first").action((options: Options) =>
      options.json ? each(options, showJson) : list(options),
    ),
  );
  dead.addCommand(
    verb("show", "show them with their requests, decoded").action((options: Options) =>
      each(options, options.json ? showJson : show),
    ),
  );
  dead.addCommand(
    verb("replay", "queue them anew, with the same ids")
      .option("--all", "all of them, without a filter")
      .action((options: Options) => change(options, "replayed", (letter) => letter.replay())),
  );
  dead.addCommand(
    verb("discard", "remove them")
      .option("--all", "all of them, without a filter")
      .action((options: Options) => change(options, "discarded", (letter) => letter.discard())),
  );
  return dead;
}

function verb(name: string, description: string): Command {
  return addSessionOptions(
    new Command(name)
      .description(description)
      .option("--method <name>", "of this method only")
      .option("--owner <owner>", "of this owner only")
      .option("--call-id <id>", "with this call id only"),
  );
}

/** Does something with every letter that the filter lets through. */
async function each(options: Options, work: (found: Found) => Promise<void>): Promise<void> {
  const { method, owner, callId } = options;
  const filter: DeadLetterFilter = {
    ...(method !== undefined && { method }),
    ...(owner !== undefined && { owner }),
    ...(callId !== undefined && { callId }),
  };
  await withSession(options, async (connection, schema) => {
    for (const { service, operator } of operatorsOf(connection, schema)) {
      for await (const letter of operator.deadLetters(filter)) {
        await work({
          service: service.typeName,
          letter,
          toJson: () => letter.toJson(schema.registry),
        });
      }
    }
  });
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
      `${Code[error.code]}: ${oneLine(error.rawMessage)}`,
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

async function change(
  options: Options,
  done: string,
  work: (letter: DeadLetter) => Promise<void>,
): Promise<void> {
  const { all, method, owner, callId, json } = options;
  const isFiltered = [method, owner, callId].some((value) => value !== undefined);
  if (isFiltered === Boolean(all)) {
    throw new UsageError(
      "say which: --method, --owner or --call-id, or --all (see them with `jetrpc dead list`)",
    );
  }
  let count = 0;
  await each(options, async ({ service, letter }) => {
    await work(letter);
    count++;
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
