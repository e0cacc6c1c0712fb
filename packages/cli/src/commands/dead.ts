import type { JsonObject, Registry } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@jetrpc/runtime";
import type { DeadLetter, DeadLetterFilter } from "@jetrpc/runtime/operator";
import { codeName } from "@jetrpc/runtime/schema";
import { Command, Option } from "commander";
import { tellAbsentStreams } from "../absent-streams.js";
import { ProgressBar } from "../call/progress-bar.js";
import { refuseSeveral } from "../call/refuse-several.js";
import { refuseUnclear } from "../call/refuse-unclear.js";
import { actToTheEnd } from "../closed-output.js";
import { timeOf } from "../duration.js";
import { UsageError } from "../exit-code.js";
import { findMethod, operatorsOf, type ServiceOperator } from "../operators.js";
import { oneLine, print, printJson, printTable } from "../output.js";
import { addSessionOptions, type SessionOptions, single, withSession } from "../session.js";

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
      .option("--method <name>", "of this method only", single("--method"))
      .option("--owner <owner>", "of this owner only", single("--owner"))
      .option("--call-id <id>", "the same as the argument", single("--call-id"))
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

/**
 * Does something with every letter that the filter lets through; with `isOne` there may be one
 * only. Throws when a named one is none of them.
 */
async function each(
  options: Options,
  work: (found: Found) => Promise<void>,
  isOne = false,
): Promise<number> {
  const { callId, owner, code } = options;
  const before = options.until === undefined ? undefined : timeOf(options.until, "--until", "ago");
  let count = 0;
  const named: Found[] = [];
  await withSession(options, async (connection, schema) => {
    const { operators, method, unknown } = meant(operatorsOf(connection, schema), options.method);
    for (const { service, operator } of operators) {
      // One that the schema lacks is refused where no letter is of it, and another service may have some.
      const its = unknown ? { owner, callId } : { method, owner, callId };
      for await (const letter of operator.deadLetters(its)) {
        if (unknown && letter.method !== method) {
          continue;
        }
        if (code !== undefined && codeName(letter.error.code) !== code) {
          continue;
        }
        if (before && letter.failedAt >= before) {
          continue;
        }
        count++;
        const found = {
          service: service.typeName,
          letter,
          registry: schema.registry,
          toJson: () => letter.toJson(schema.registry),
        };
        await (isOne ? named.push(found) : work(found));
      }
    }
    if (count === 0 && unknown) {
      throw unknown;
    }
    refuseSeveral(
      `${callId}`,
      named.map(({ service, letter: { method, owner } }) => ({
        method: `${service}.${method}`,
        owner,
      })),
    );
    await Promise.all(named.map(work));
    if (count === 0) {
      await tellAbsentStreams(connection, operators, options.json);
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

/** Whose dead letters are meant. */
interface Meant {
  readonly operators: readonly ServiceOperator[];
  readonly method?: string;
  /** The schema has no such method. There may be dead letters of one that it had. */
  readonly unknown?: UsageError;
}

function meant(all: readonly ServiceOperator[], name: string | undefined): Meant {
  if (name === undefined) {
    return { operators: all };
  }
  try {
    const { method, ...its } = findMethod(all, name);
    return { operators: [its], method };
  } catch (cause) {
    const [, service, method = ""] = /^(?:(.+)[./])?(\w+)$/.exec(name) ?? [];
    const its = all.filter(({ service: { typeName } }) => `.${typeName}`.endsWith(`.${service}`));
    const isKnown = all.some(({ service }) => service.methods.some((one) => one.name === method));
    if (!(cause instanceof UsageError) || isKnown || method === "") {
      throw cause;
    }
    return { operators: service === undefined ? all : its, method, unknown: cause };
  }
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
  const check = async ({ letter, registry }: Found) => {
    const problems = await letter.check(request, registry);
    if (problems.length > 0) {
      const lines = problems.map(({ path, problem }) => `${path || "the request"}: ${problem}`);
      throw new ConnectError(
        `the request does not fit, and nothing was replayed:\n${lines.join("\n")}`,
        Code.InvalidArgument,
      );
    }
  };
  const replayOne = ({ letter, registry }: Found) => letter.replay({ request, registry });
  await change(options, "replayed", replayOne, check);
}

/**
 * Does something with letters; `work` returns false for one that is gone meanwhile. `check` throws
 * for one with which it cannot be done, in a dry run, too.
 */
async function change(
  options: Options,
  done: string,
  work: (found: Found) => Promise<boolean>,
  check?: (found: Found) => Promise<void>,
): Promise<void> {
  const { all, method, owner, callId, code, json, dryRun, until } = options;
  refuseUnclear(all, [method, owner, callId, code, until], {
    filters: "a call id, --method, --owner, --code or --until",
    list: "jetrpc dead list",
  });
  if (!dryRun) {
    actToTheEnd();
  }
  const bar = new ProgressBar();
  let changed = 0;
  const count = await each(
    options,
    async (found) => {
      const { service, letter } = found;
      const { method, owner, callId } = letter;
      await check?.(found);
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
    },
    callId !== undefined,
  );
  bar.clear();
  if (!json && count === 0) {
    print("no dead letters");
  }
}
