import type { JsonObject, Registry } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@jetrpc/runtime";
import type { DeadLetter, DeadLetterFilter } from "@jetrpc/runtime/operator";
import { codeName } from "@jetrpc/runtime/schema";
import { Command, Option } from "commander";
import { ProgressBar } from "../call/progress-bar.js";
import { refuseUnclear } from "../call/refuse-unclear.js";
import { timeOf } from "../duration.js";
import { UsageError } from "../exit-code.js";
import { operatorsOf } from "../operators.js";
import { oneLine, print, printJson, printTable } from "../output.js";
import { addSessionOptions, type SessionOptions, withSession } from "../session.js";

interface Options extends SessionOptions, DeadLetterFilter {
  all?: boolean;
  code?: string;
  dryRun?: boolean;
  /** Dead letters that are older. */
  until?: string;
  request?: string;
}

/** A dead letter, and the full name of its service. */
interface Found {
  readonly service: string;
  readonly letter: DeadLetter;
  readonly registry: Registry;
  toJson(): Promise<JsonObject>;
}

/** `jetrpc dead`: calls that failed for good. */
export function deadCommand(): Command {
  const dead = new Command("dead");
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
    changing("replay", "queue them anew, with the same ids")
      .option("--request <json>", "with this request, corrected: JSON, @FILE, or - for stdin")
      .action((id: string | undefined, options: Options) => replay(withId(id, options))),
  );
  dead.addCommand(
    changing("discard", "remove them").action((id: string | undefined, options: Options) =>
      change(withId(id, options), "discarded", async ({ letter }) => {
        await letter.discard();
        return true;
      }),
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

function changing(name: string, description: string): Command {
  return verb(name, description)
    .option(
      "--until <time>",
      "that failed before then: 2030-01-31T12:00:00Z, or 10m for 10 min ago",
    )
    .option("--all", "all of them, without a filter")
    .option("--dry-run", "tell which ones, and do nothing");
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
  const before = options.until === undefined ? undefined : timeOf(options.until, "--until", "ago");
  let count = 0;
  await withSession(options, async (connection, schema) => {
    for (const { service, operator } of operatorsOf(connection, schema)) {
      for await (const letter of operator.deadLetters({ method, owner, callId })) {
        if (code !== undefined && codeName(letter.error.code) !== code) {
          continue;
        }
        if (before && letter.failedAt >= before) {
          continue;
        }
        count++;
        await work({
          service: service.typeName,
          letter,
          registry: schema.registry,
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

/** Queues dead letters anew; one may get another request. */
async function replay(options: Options): Promise<void> {
  const { request: given, callId } = options;
  if (given === undefined) {
    await change(options, "replayed", ({ letter }) => letter.replay());
    return;
  }
  if (callId === undefined) {
    throw new UsageError("--request is of one call: name it by its id");
  }
  const { readJson } = await import("../call/read-requests.js");
  const request = await readJson(given);
  await change(options, "replayed", async ({ letter, registry }) => {
    const problems = await letter.check(request, registry);
    if (problems.length > 0) {
      const lines = problems.map(({ path, problem }) => `${path || "the request"}: ${problem}`);
      throw new ConnectError(
        `the request does not fit, and nothing was replayed:\n${lines.join("\n")}`,
        Code.InvalidArgument,
      );
    }
    return await letter.replay({ request, registry });
  });
}

/** Does something with letters; `work` returns false for one that is gone meanwhile. */
async function change(
  options: Options,
  done: string,
  work: (found: Found) => Promise<boolean>,
): Promise<void> {
  const { all, method, owner, callId, code, json, dryRun, until } = options;
  refuseUnclear(all, [method, owner, callId, code, until], {
    filters: "a call id, --method, --owner, --code or --until",
    list: "jetrpc dead list",
  });
  const bar = new ProgressBar();
  let changed = 0;
  const count = await each(options, async (found) => {
    const { service, letter } = found;
    const { method, owner, callId } = letter;
    if (!dryRun && !(await work(found))) {
      return;
    }
    changed++;
    bar.aside(() => {
      if (json) {
        printJson({ service, method, owner, callId, [done]: !dryRun });
      } else {
        print(`${dryRun ? `would be ${done}` : done} ${service}.${method} ${owner} ${callId}`);
      }
    });
    bar.show({ done: changed, total: 0, message: done });
  });
  bar.clear();
  if (!json && count === 0) {
    print("no dead letters");
  }
}
