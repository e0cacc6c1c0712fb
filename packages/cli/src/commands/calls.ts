import type { DescMethod, JsonObject } from "@bufbuild/protobuf";
import {
  type CallStateName,
  Code,
  ConnectError,
  type Connection,
  createClient,
} from "@jetrpc/runtime";
import type { ConnectOptions } from "@jetrpc/runtime/node";
import {
  type BulkAct,
  type CallFilter,
  type CallPage,
  type CallStory,
  callStates,
  type ListedCall,
  openStates,
} from "@jetrpc/runtime/operator";
import { codeName } from "@jetrpc/runtime/schema";
import { Command, Option } from "commander";
import { tellAbsentStreams } from "../absent-streams.js";
import { askedToEnd } from "../asked-to-end.js";
import { tellCallError, withRole } from "../call/call-error.js";
import { type AnyCall, type AnyDurableMethod, followCall } from "../call/follow-call.js";
import { ProgressBar } from "../call/progress-bar.js";
import { refuseSeveral } from "../call/refuse-several.js";
import { refuseUnclear } from "../call/refuse-unclear.js";
import { ResponsePrinter } from "../call/response-printer.js";
import { timeOf } from "../duration.js";
import { Exit, ExitCode, UsageError } from "../exit-code.js";
import { findMethodNamed, fullName } from "../find-method.js";
import { host } from "../host.js";
import { durableMethods, operatorsOf, type ServiceOperator } from "../operators.js";
import { oneLine, print, printJson, printLog, printTable } from "../output.js";
import type { Schema } from "../schema.js";
import {
  addSessionOptions,
  collect,
  open,
  type SessionOptions,
  single,
  withSession,
} from "../session.js";

interface FilterOptions extends SessionOptions {
  state?: CallStateName[];
  method?: string;
  owner?: string;
  id?: string;
  prefix?: string;
  contains?: string;
  since?: string;
  until?: string;
}

interface ListOptions extends FilterOptions {
  limit: string;
  page?: string;
}

interface ManyOptions extends FilterOptions {
  all?: boolean;
  dryRun?: boolean;
  resume?: string;
}

interface OneOptions extends SessionOptions {
  method?: string;
  owner?: string;
  output?: string;
  from?: string;
}

/** `jetrpc calls`: durable calls, found and looked after. */
export function callsCommand(): Command {
  const calls = new Command("calls");
  calls.addCommand(
    addFilter(new Command("list").description("list calls, the newest first"))
      .option("--limit <count>", "most calls that are listed, up to 1000", "50")
      .option("--page <token>", "the page that a list has named as the next")
      .action(list),
  );
  calls.addCommand(
    one("show", "show what the server knows of a call")
      .option("--output <path>", "save its Blobs in this folder, or as this file")
      .action(show),
  );
  calls.addCommand(
    one("follow", "wait for the end of a call: progress on a terminal, responses as JSON lines")
      .option("--from <count>", "leave out so many messages of a stream")
      .option("--output <path>", "save Blobs of the response in this folder, or as this file")
      .action((id: string, options: OneOptions) => follow(id, options)),
  );
  calls.addCommand(
    one("result", "print the response of a call that has ended")
      .option("--output <path>", "save Blobs of the response in this folder, or as this file")
      .action((id: string, options: OneOptions) => follow(id, options, { waits: false })),
  );
  calls.addCommand(
    many("cancel", "end a call, or all that fit, as canceled")
      .argument("[call-id]", "of this call only")
      .action(cancel),
  );
  calls.addCommand(
    many(
      "replay",
      "queue calls anew that failed; one after the other: `jetrpc dead replay`",
    ).action((options: ManyOptions) => actOn("replay", options)),
  );
  calls.addCommand(
    many("discard", "remove the dead letters of calls that failed").action((options: ManyOptions) =>
      actOn("discard", options),
    ),
  );
  return calls;
}

function many(name: string, description: string): Command {
  return addFilter(new Command(name).description(description))
    .option("--all", "all of them, without a filter")
    .option("--dry-run", "tell how many it would be, and do nothing")
    .option("--resume <token>", "go on with what was cut short");
}

function one(name: string, description: string): Command {
  return addSessionOptions(
    new Command(name)
      .description(description)
      .argument("<call-id>", "id of the call")
      .option("--method <name>", "its method (default: the one that has such a call)")
      .option(
        "--owner <owner>",
        "its owner (default: JETRPC_OWNER, or the one that has such a call)",
      ),
  );
}

function addFilter(command: Command): Command {
  return addSessionOptions(
    command
      .addOption(
        new Option(
          "--state <state>",
          `in this state; repeatable: ${callStates.join(", ")}`,
        ).argParser((value: string, previous?: string[]) => {
          if (!(callStates as readonly string[]).includes(value)) {
            throw new UsageError(`--state ${value} is none: there are ${callStates.join(", ")}`);
          }
          return collect(value, previous);
        }),
      )
      .option("--method <name>", "of this method only", single("--method"))
      .option("--owner <owner>", "of this owner only", single("--owner"))
      .option("--id <call-id>", "with this id only", single("--id"))
      .option("--prefix <text>", "whose id begins so", single("--prefix"))
      .option(
        "--contains <text>",
        "with this text in request, result, error or id: reads them all, newest first",
        single("--contains"),
      )
      .option("--since <time>", "that ended or came then or later: a time, or 1h for the last hour")
      .option("--until <time>", "that ended or came before then"),
  );
}

function filterOf(options: FilterOptions, method?: DescMethod): CallFilter {
  const { state, owner, id, prefix, contains, since, until } = options;
  return {
    ...(state && { states: state }),
    ...(method && { method: method.name }),
    ...(owner !== undefined && { owner }),
    ...(id !== undefined && { callId: id }),
    ...(prefix !== undefined && { callIdPrefix: prefix }),
    ...(contains !== undefined && { contains }),
    ...(since !== undefined && { since: timeOf(since, "--since", "ago") }),
    ...(until !== undefined && { until: timeOf(until, "--until", "ago") }),
  };
}

/** The operators of the services that have the method, if one is named. */
function meant(
  connection: Connection,
  schema: Schema,
  name: string | undefined,
): { operators: ServiceOperator[]; method: DescMethod | undefined } {
  const all = operatorsOf(connection, schema);
  if (name === undefined) {
    return { operators: all, method: undefined };
  }
  const method = findMethodNamed(
    all.flatMap(({ service }) => durableMethods(service)),
    name,
    "durable method",
  );
  return { operators: all.filter(({ service }) => service === method.parent), method };
}

async function list(options: ListOptions): Promise<void> {
  const pageSize = Number(options.limit);
  if (!Number.isInteger(pageSize) || pageSize < 1 || pageSize > 1000) {
    throw new UsageError(`--limit ${options.limit} is no number of calls: give 1 to 1000`);
  }
  await withSession(options, async (connection, schema) => {
    const { operators, method } = meant(connection, schema, options.method);
    if (options.page !== undefined && operators.length > 1) {
      throw new UsageError("--page is of one service: name it with --service");
    }
    const filter = filterOf(options, method);
    const bar = new ProgressBar();
    let isEnding: AbortSignal | undefined;
    let [looked, unread] = [0, 0];
    const pages = await Promise.all(
      operators.map(async ({ service, operator }) => {
        for (let pageToken = options.page; ; ) {
          const page = await operator.listCalls(filter, { pageSize, pageToken });
          looked += page.looked;
          unread += page.unread;
          // The server has looked at many calls of which none fits: nobody has to ask for the rest.
          if (page.calls.length > 0 || page.nextPageToken === undefined || isEnding?.aborted) {
            return { service: service.typeName, ...page };
          }
          // From here on it may take long: who ends it is told where it goes on.
          isEnding ??= askedToEnd();
          bar.show({ done: looked, total: 0, message: `messages looked at${backTo(page)}` });
          pageToken = page.nextPageToken;
        }
      }),
    );
    bar.clear();
    if (pages.every(({ calls, nextPageToken }) => calls.length === 0 && !nextPageToken)) {
      await tellAbsentStreams(connection, operators, options.json);
    }
    const found = pages
      .flatMap(({ service, calls }) => calls.map((call) => ({ service, call })))
      .sort((a, b) => b.call.at.getTime() - a.call.at.getTime());
    if (options.json) {
      for (const { service, call } of found) {
        printJson({ service, ...call.toJson() });
      }
    } else if (found.length === 0) {
      print("no calls");
    } else {
      printTable(
        ["AT", "STATE", "METHOD", "OWNER", "CALL ID", "ATTEMPTS", "ERROR"],
        found.map(({ service, call }) => rowOf(service, call)),
      );
    }
    if (options.contains !== undefined) {
      tellCost(looked, unread, options.json);
    }
    for (const { service, nextPageToken, lookedBackTo } of pages) {
      if (nextPageToken !== undefined) {
        const to = lookedBackTo ? ` before ${lookedBackTo.toISOString()}` : "";
        tellMore(service, to, nextPageToken, options.json);
      }
    }
    if (isEnding?.aborted) {
      throw new Exit(ExitCode.interrupted);
    }
  });
}

function backTo({ lookedBackTo }: CallPage): string {
  return lookedBackTo ? `, back to ${lookedBackTo.toISOString()}` : "";
}

function tellCost(looked: number, unread: number, asJson: boolean | undefined): void {
  if (asJson) {
    host().stderr.write(`${JSON.stringify({ looked, unread })}\n`);
  } else {
    const rest = unread > 0 ? `; not into ${unread}, too large or of another schema` : "";
    printLog(`looked into ${looked} requests, results and entries of logs${rest}`, false);
  }
}

function tellMore(
  service: string,
  before: string,
  nextPageToken: string,
  asJson: boolean | undefined,
): void {
  if (asJson) {
    host().stderr.write(`${JSON.stringify({ service, nextPageToken })}\n`);
  } else {
    printLog(
      `there may be more calls of ${service}${before}: add --service ${service} --page ${nextPageToken}`,
      false,
    );
  }
}

function rowOf(service: string, call: ListedCall): string[] {
  const { at, state, method, owner, callId, attempts, error } = call;
  return [
    at.toISOString(),
    state,
    `${service}.${method}`,
    owner,
    callId,
    `${attempts}`,
    error ? `${codeName(error.code)}: ${oneLine(error.rawMessage)}` : "",
  ];
}

/** A call that was found. */
interface Located {
  readonly method: DescMethod;
  readonly owner: string;
  readonly callId: string;
}

/**
 * The method and the owner of a call: as the options say, or by looking. Throws NotFound, and
 * UsageError when several calls have the id.
 */
async function locate(
  connection: Connection,
  schema: Schema,
  callId: string,
  options: OneOptions,
): Promise<Located> {
  const { operators, method } = meant(connection, schema, options.method);
  const found = await search(connection, operators, method, callId, options.owner);
  const [only] = found;
  if (!only) {
    await tellAbsentStreams(connection, operators, options.json);
    throw new ConnectError(
      `there is no call "${callId}"${options.owner === undefined ? "" : ` of the owner ${options.owner}`}: it was never made, or its log is older than the retention of results`,
      Code.NotFound,
    );
  }
  refuseSeveral(
    callId,
    found.map((each) => ({ method: fullName(each.method), owner: each.owner })),
  );
  return only;
}

async function search(
  connection: Connection,
  operators: readonly ServiceOperator[],
  method: DescMethod | undefined,
  callId: string,
  owner: string | undefined,
): Promise<Located[]> {
  const filter = { callId, ...(method && { method: method.name }), ...(owner && { owner }) };
  try {
    const pages = await Promise.all(
      operators.map(async ({ service, operator }) => {
        const located: Located[] = [];
        for await (const call of operator.calls(filter)) {
          const its = service.methods.find(({ name }) => name === call.method);
          if (its) {
            located.push({ method: its, owner: call.owner, callId });
          }
        }
        return located;
      }),
    );
    return pages.flat();
  } catch (cause) {
    if (ConnectError.from(cause).code !== Code.PermissionDenied) {
      throw cause;
    }
  }
  // A client may look for its own calls, one method at a time.
  const methods = method ? [method] : operators.flatMap(({ service }) => durableMethods(service));
  const denied: unknown[] = [];
  const own = await Promise.all(
    methods.map(async (its) => {
      try {
        await attach(connection, its, callId).status();
        return [{ method: its, owner: connection.owner, callId }];
      } catch (cause) {
        const { code } = ConnectError.from(cause);
        if (code === Code.PermissionDenied) {
          denied.push(cause);
        } else if (code !== Code.NotFound) {
          throw cause;
        }
        return [];
      }
    }),
  );
  // Credentials that may look nowhere do not tell that it is not there.
  if (denied.length === methods.length && denied.length > 0) {
    throw withRole(denied[0]);
  }
  return own.flat();
}

function attach(connection: Connection, method: DescMethod, callId: string): AnyCall {
  const client = createClient<Record<string, AnyDurableMethod>>(method.parent, connection);
  return (client[method.localName] as AnyDurableMethod).attach(callId);
}

/** Does something with a call as its owner: the connection may be another one's. */
async function asOwner<T>(
  connection: Connection,
  { method, owner, callId }: Located,
  options: OneOptions,
  onWaiting: ConnectOptions["onWaiting"],
  work: (call: AnyCall) => Promise<T>,
): Promise<T> {
  const isOwn = owner === connection.owner;
  const own = isOwn ? connection : await open(options, owner, { onWaiting });
  try {
    return await work(attach(own, method, callId));
  } catch (cause) {
    throw cause instanceof UsageError ? cause : withRole(cause);
  } finally {
    await own.close();
  }
}

async function follow(id: string, options: OneOptions, { waits = true } = {}): Promise<void> {
  const bar = new ProgressBar();
  const isEnding = askedToEnd();
  const from = options.from === undefined ? undefined : Number(options.from);
  if (from !== undefined && !(Number.isInteger(from) && from >= 0)) {
    throw new UsageError(`--from ${options.from} is no number of messages: give 0 or more`);
  }
  const onWaiting = ({ message }: { message: string }) =>
    bar.aside(() => printLog(message, options.json));
  await withSession(
    options,
    async (connection, schema) => {
      const found = await locate(connection, schema, id, options);
      const { method } = found;
      const printer = new ResponsePrinter(method.output, schema.registry, options.output, (line) =>
        bar.aside(() => print(line)),
      );
      try {
        await asOwner(connection, found, options, onWaiting, async (call) => {
          if (!waits) {
            await refuseUnended(call, method);
          }
          await followCall(call, { printer, bar, signal: isEnding, from });
        });
      } catch (error) {
        if (isEnding.aborted) {
          throw new Exit(ExitCode.interrupted);
        }
        throw error instanceof UsageError
          ? error
          : tellCallError(error, schema.registry, options.json ?? false);
      }
    },
    { owner: options.owner, onWaiting },
  );
}

async function refuseUnended(call: AnyCall, method: DescMethod): Promise<void> {
  const { state } = await call.status();
  if (openStates.includes(state)) {
    throw new ConnectError(
      `the call is ${state}: wait for it with \`jetrpc calls follow ${call.id} --method ${fullName(method)}\``,
      Code.FailedPrecondition,
    );
  }
}

async function show(id: string, options: OneOptions): Promise<void> {
  await withSession(
    options,
    async (connection, schema) => {
      const { method, owner } = await locate(connection, schema, id, options);
      const { operator } = operatorsOf(connection, schema).find(
        ({ service }) => service === method.parent,
      ) as ServiceOperator;
      const story = await operator.showCall({ method: method.name, callId: id, owner });
      const json = await story.toJson(schema.registry);
      if (options.json) {
        printJson({ service: method.parent.typeName, ...json });
      } else {
        printStory(method, story, json);
      }
      if (options.output !== undefined) {
        await saveBlobs(story, options);
      }
    },
    { owner: options.owner },
  );
}

async function saveBlobs(story: CallStory, { output, json }: OneOptions): Promise<void> {
  const { saveTo } = await import("../call/response-printer.js");
  for (const { blob } of await story.blobs()) {
    printLog(`saved ${await saveTo(output as string, blob)}`, json);
  }
}

function printStory(method: DescMethod, story: CallStory, json: JsonObject): void {
  const line = (title: string, text: string | undefined) => {
    if (text !== undefined) {
      print(`${title.padEnd(10)}${text}`);
    }
  };
  const { state, attempts, progress, error, workers, deadLetter } = story;
  line("call", story.callId);
  line("method", fullName(method));
  line("owner", story.owner);
  line("state", state);
  line("accepted", story.acceptedAt?.toISOString());
  line("starts", story.startsAt?.toISOString());
  line("deadline", story.deadline?.toISOString());
  line("ended", story.endedAt?.toISOString());
  if (workers !== undefined) {
    line("workers", workers === 0 ? "no worker serves its method: start one" : `${workers}`);
  }
  for (const each of attempts) {
    const parts = [
      each.startedAt && `began ${each.startedAt.toISOString()}`,
      each.endedAt && `ended ${each.endedAt.toISOString()}`,
      each.error && `${codeName(each.error.code)}: ${oneLine(each.error.rawMessage)}`,
      each.retryAt && `next not before ${each.retryAt.toISOString()}`,
    ];
    line(`attempt ${each.attempt}`, parts.filter(Boolean).join(", "));
  }
  if (progress) {
    const { done, total, message } = progress;
    line("progress", `${done}${total > 0 ? ` of ${total}` : ""} ${oneLine(message)}`.trimEnd());
  }
  if (error) {
    line("error", `${codeName(error.code)}: ${oneLine(error.rawMessage)}`);
  }
  const known = new Set([
    ...["method", "owner", "callId", "state", "acceptedAt", "startsAt", "deadline", "endedAt"],
    ...["workers", "attempts", "progress", "error"],
  ]);
  for (const [key, value] of Object.entries(json)) {
    if (!known.has(key)) {
      line(key, JSON.stringify(value));
    }
  }
  if (deadLetter) {
    line(
      "mend",
      `\`jetrpc dead replay ${story.callId}\` queues it anew; with --request @FILE a corrected request`,
    );
  }
}

async function cancel(id: string | undefined, options: ManyOptions): Promise<void> {
  if (id !== undefined && options.id !== undefined && id !== options.id) {
    throw new UsageError(`${id} and --id ${options.id}: give one call id`);
  }
  const callId = id ?? options.id;
  const { state, prefix, contains, since, until, all, resume } = options;
  // A filter more is a condition: the call is ended when it fits, which is the operator's to see.
  const more = [state, prefix, contains, since, until, all, resume];
  if (callId !== undefined && !options.dryRun && more.every((each) => each === undefined)) {
    await cancelOne(callId, options);
    return;
  }
  await actOn("cancel", { ...options, ...(callId !== undefined && { id: callId }) });
}

async function actOn(act: BulkAct, options: ManyOptions): Promise<void> {
  const { all, json, dryRun = false, resume } = options;
  const { state, method: named, owner, id, prefix, contains, since, until } = options;
  refuseUnclear(all, [id, state, named, owner, prefix, contains, since, until], {
    filters: "--id, --method, --state, --owner, --prefix, --contains, --since or --until",
    list: "jetrpc calls list",
  });
  await withSession(options, async (connection, schema) => {
    const { operators, method } = meant(connection, schema, options.method);
    if (resume !== undefined && operators.length > 1) {
      throw new UsageError("--resume is of one service: name it with --service");
    }
    const { actOnAll } = await import("../call/act-on-all.js");
    const settings = { json, dryRun, resumeToken: resume };
    const matched = await actOnAll(act, operators, filterOf(options, method), settings);
    if (matched === 0) {
      await tellAbsentStreams(connection, operators, json);
    }
  });
}

async function cancelOne(callId: string, options: ManyOptions): Promise<void> {
  await withSession(
    options,
    async (connection, schema) => {
      const found = await locate(connection, schema, callId, options);
      const { method, owner } = found;
      const cancel = (call: AnyCall) => call.cancel();
      const canceled = await asOwner(connection, found, options, undefined, cancel);
      if (options.json) {
        const { name, parent } = method;
        printJson({ service: parent.typeName, method: name, owner, callId, canceled });
      } else {
        const what = `${fullName(method)} ${owner} ${callId}`;
        print(canceled ? `canceled ${what}` : `${what} had ended before`);
      }
    },
    { owner: options.owner },
  );
}
