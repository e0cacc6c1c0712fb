import { once } from "node:events";
import { Code, ConnectError } from "@jetrpc/runtime";
import { Command, Option } from "commander";
import { askedToEnd } from "../asked-to-end.js";
import {
  addConsoleOptions,
  type ConsoleArguments,
  type ConsoleToken,
  consoleOptions,
  loadConsole,
} from "../console-options.js";
import { loadGateway } from "../gateway-options.js";
import { environment, host, onHost } from "../host.js";
import { onEnter } from "../on-enter.js";
import { print, printJson, printLog } from "../output.js";
import { addSessionOptions } from "../session.js";

interface TokenOptions extends Pick<ConsoleToken, "name" | "role"> {
  json?: boolean;
}

/** `jetrpc console`: a web page that shows what runs, and acts on durable calls. */
export function consoleCommand(): Command {
  const command = addSessionOptions(
    addConsoleOptions(
      new Command("console").description(
        "serve a web page that shows calls, workers and streams, and acts on them",
      ),
    ),
  ).action(serveConsole);
  return command.addCommand(
    new Command("token")
      .description("make a token for a person, and its line for the file of --tokens")
      .requiredOption("--name <name>", "who has it, as the log of acts names them")
      .addOption(
        new Option("--role <role>", "only to look, or to act, too")
          .choices(["read", "act"])
          .default("read"),
      )
      // --json is an option of the command above.
      .action((_options, command: Command) => token(command.optsWithGlobals())),
  );
}

async function serveConsole(options: ConsoleArguments): Promise<void> {
  const given = await consoleOptions(options, await environment());
  const { startConsole } = await loadConsole();
  const startAt = (port: number | undefined) =>
    startConsole({
      ...given,
      port,
      log: onHost((message) => printLog(message, options.json)),
      ...(options.actLog === undefined && {
        onAct: onHost((act) => host().stderr.write(`${JSON.stringify(act)}\n`)),
      }),
    });
  const running = await startAt(given.port).catch((error: unknown) => {
    // That of another repository runs: this one prints its address as well.
    if (options.dev && ConnectError.from(error).code === Code.AlreadyExists) {
      return startAt(0);
    }
    throw error;
  });
  const tell = () => {
    const address = running.newAddress();
    if (options.json) {
      printJson({ url: running.url, address });
    } else {
      print(`the console is at ${address}`);
    }
  };
  tell();
  let stop = () => {};
  if ((host().stdout.isTTY || options.dev) && given.login === undefined) {
    const end = options.dev ? "" : ", Ctrl-C ends it";
    print(`its address works once; Enter makes another one${end}`);
    stop = onEnter(tell);
  }
  await once(askedToEnd(), "abort");
  stop();
  await running.close();
}

async function token({ name, role, json }: TokenOptions): Promise<void> {
  const { createApiToken, hashApiToken } = await loadGateway();
  const made = createApiToken();
  const entry: ConsoleToken = { sha256: hashApiToken(made), name, role };
  if (json) {
    printJson({ token: made, entry });
    return;
  }
  print(`${name} gets, once:     ${made}`);
  print(`the file of --tokens:   ${JSON.stringify(entry)}`);
}
