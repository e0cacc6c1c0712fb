import type { DescMethod, Message, Registry } from "@bufbuild/protobuf";
import {
  type CallOptions,
  Code,
  ConnectError,
  type Connection,
  createClient,
} from "@jetrpc/runtime";
import { bindMethod, type Priority } from "@jetrpc/runtime/schema";
import { Command, Option } from "commander";
import { askedToEnd } from "../asked-to-end.js";
import { tellCallError } from "../call/call-error.js";
import { type AnyDurableMethod, followCall } from "../call/follow-call.js";
import { ProgressBar } from "../call/progress-bar.js";
import { readRequests } from "../call/read-requests.js";
import { ResponsePrinter } from "../call/response-printer.js";
import { durationOf, timeOf } from "../duration.js";
import { Exit, ExitCode, UsageError } from "../exit-code.js";
import { findMethodNamed, fullName } from "../find-method.js";
import { print, printJson, printLog } from "../output.js";
import { addSessionOptions, collect, type SessionOptions, withSession } from "../session.js";

interface Options extends SessionOptions {
  submit?: boolean;
  id?: string;
  at?: string;
  priority?: Priority;
  timeout?: string;
  header?: string[];
  owner?: string;
  output?: string;
}

/** `jetrpc call METHOD [REQUEST]`: calls a method of any kind. */
export function callCommand(): Command {
  return addSessionOptions(
    new Command("call")
      .argument("<method>", "pdf.v1.PdfService/ExtractText, or the end of it")
      .argument(
        "[request...]",
        "JSON, @FILE, or - for stdin; several for a method that streams them",
      )
      .option("--submit", "of a durable call print the id, and do not wait for its end")
      .option("--id <call-id>", "id of the durable call (default: a new one)")
      .option(
        "--at <time>",
        "start it at this time, 2030-01-31T12:00:00Z, or so long from now: 10m",
      )
      .addOption(
        new Option("--priority <priority>", "of the durable call").choices([
          "high",
          "normal",
          "low",
        ]),
      )
      .option("--timeout <duration>", "time of the call: 500ms, 30s, 5m, 2h")
      .option("-H, --header <name:value>", "metadata for the handler; repeatable", collect)
      .option("--owner <owner>", "whose durable call it is (default: JETRPC_OWNER)")
      .option("--output <path>", "save Blobs of the response in this folder, or as this file"),
  ).action(call);
}

async function call(name: string, requests: string[], options: Options): Promise<void> {
  if (options.submit && options.output !== undefined) {
    throw new UsageError("--output is of the response, and --submit does not wait for it");
  }
  const bar = new ProgressBar();
  await withSession(
    options,
    async (connection, { services, registry }) => {
      const methods = services.flatMap((service) => service.methods);
      const method = findMethodNamed(methods, name, "method");
      const printer = new ResponsePrinter(method.output, registry, options.output, (line) =>
        bar.aside(() => print(line)),
      );
      const input = new Requests(readRequests(method, requests, registry));
      // From here on: nothing hears a signal while a pipe that is named as a file is waited for.
      const isEnding = askedToEnd();
      const run = { connection, method, registry, printer, bar, isEnding, options };
      try {
        await (bindMethod(method).delivery === "durable"
          ? callDurable(run, await input.only())
          : callDirect(run, input));
      } catch (error) {
        bar.clear();
        throw endOf(error, run, input);
      }
    },
    {
      anyService: true,
      likely: /^(\w+(?:\.\w+)*)[./]\w+$/.exec(name)?.[1],
      owner: options.owner,
      onWaiting: ({ message }) => bar.aside(() => printLog(message, options.json)),
    },
  );
}

/** A call that this command makes. */
interface Run {
  readonly connection: Connection;
  readonly method: DescMethod;
  readonly registry: Registry;
  readonly printer: ResponsePrinter;
  readonly bar: ProgressBar;
  readonly isEnding: AbortSignal;
  readonly options: Options;
}

/** Requests that are read while the call runs: the runtime would take a mistake for its own. */
class Requests implements AsyncIterable<Message> {
  failure: unknown;

  constructor(private readonly from: AsyncIterable<Message>) {}

  async *[Symbol.asyncIterator](): AsyncGenerator<Message> {
    try {
      yield* this.from;
    } catch (error) {
      this.failure = error;
      throw error;
    }
  }

  async only(): Promise<Message> {
    for await (const message of this) {
      return message;
    }
    throw new UsageError("there is no request: give one as JSON");
  }
}

function endOf(error: unknown, { isEnding, registry, options }: Run, input: Requests): unknown {
  if (error instanceof Exit || error instanceof UsageError) {
    return error;
  }
  if (input.failure) {
    return input.failure;
  }
  if (isEnding.aborted) {
    return new Exit(ExitCode.interrupted);
  }
  return tellCallError(error, registry, options.json ?? false);
}

type AnyMethod = (request: unknown, options: CallOptions) => unknown;

function methodOf({ connection, method }: Run): unknown {
  return createClient<Record<string, unknown>>(method.parent, connection)[method.localName];
}

function callOptionsOf({ options, isEnding: signal }: Run): CallOptions & { signal: AbortSignal } {
  const { timeout, header = [] } = options;
  const headers = new Headers();
  for (const each of header) {
    const [, name = "", value = ""] = /^([^:]+):\s*(.*)$/s.exec(each) ?? [];
    try {
      headers.append(name, value);
    } catch {
      throw new UsageError(`-H ${each} is no header: write one like "accept-language: de"`);
    }
  }
  const timeoutMs = timeout === undefined ? undefined : durationOf(timeout, "--timeout");
  return { headers, timeoutMs, signal };
}

async function callDirect(run: Run, requests: Requests): Promise<void> {
  const { method, printer, options } = run;
  for (const [option, value] of Object.entries({
    submit: options.submit,
    id: options.id,
    at: options.at,
    priority: options.priority,
    owner: options.owner,
  })) {
    if (value !== undefined) {
      throw new UsageError(`--${option} is of durable calls, and ${fullName(method)} is direct`);
    }
  }
  const { methodKind } = method;
  const takesOne = methodKind === "unary" || methodKind === "server_streaming";
  const input = takesOne ? await requests.only() : requests;
  const answer = (methodOf(run) as AnyMethod)(input, callOptionsOf(run));
  if (methodKind === "unary" || methodKind === "client_streaming") {
    await printer.print((await answer) as Message);
    return;
  }
  for await (const message of answer as AsyncIterable<Message>) {
    await printer.print(message);
  }
}

async function callDurable(run: Run, request: Message): Promise<void> {
  const { method, printer, bar, isEnding, options, connection } = run;
  const { id, at, priority, json } = options;
  const submitted = (methodOf(run) as AnyDurableMethod).submit(request, {
    ...callOptionsOf(run),
    callId: id,
    priority,
    notBefore: at === undefined ? undefined : timeOf(at, "--at"),
  });
  const call = await submitted.catch((error) => {
    if (isEnding.aborted) {
      printLog("the call may have been accepted, or not", json);
    }
    const { code, rawMessage } = ConnectError.from(error);
    // Nothing has run: an option is wrong for the method, or for any.
    throw code === Code.InvalidArgument ? new UsageError(rawMessage) : error;
  });
  if (options.submit) {
    if (json) {
      const { owner } = connection;
      printJson({ service: method.parent.typeName, method: method.name, owner, callId: call.id });
    } else {
      print(call.id);
    }
    return;
  }
  try {
    await followCall(call, { printer, bar, signal: isEnding });
  } catch (error) {
    if (isEnding.aborted) {
      const named = `${method.parent.typeName}/${method.name}`;
      const owned = options.owner === undefined ? "" : ` --owner ${options.owner}`;
      printLog(
        `the call goes on: \`jetrpc calls follow ${call.id} --method ${named}${owned}\` comes back to it, \`jetrpc calls cancel\` with the same words ends it`,
        json,
      );
    }
    throw error;
  }
}
