import { ConnectError, type Connection } from "@jetrpc/runtime";
import type { Role } from "@jetrpc/runtime/operator";
import { Command, Option } from "commander";
import { checkAccount, checkServer } from "../doctor/account.js";
import { Clock } from "../doctor/clock.js";
import { checkDrift } from "../doctor/drift.js";
import { error, type Finding, warning } from "../doctor/finding.js";
import { checkPermissions, roles } from "../doctor/permissions.js";
import { checkStreams } from "../doctor/streams.js";
import { checkSync } from "../doctor/sync.js";
import { Exit, ExitCode, UsageError } from "../exit-code.js";
import { methodsOfServices } from "../find-method.js";
import { monitorsOf } from "../monitors.js";
import { print, printJson } from "../output.js";
import { loadSchema, NoSchema, type Schema } from "../schema.js";
import { addSessionOptions, collect, open, type SessionOptions } from "../session.js";

interface Options extends SessionOptions {
  role?: Role;
  method?: string[];
  monitor?: string[];
}

/** `jetrpc doctor`: finds what is wrong with a server, and how to mend it. */
export function doctorCommand(): Command {
  return addSessionOptions(
    new Command("doctor")
      .addOption(new Option("--role <role>", "what these credentials are for").choices([...roles]))
      .option("--monitor <url>", "monitoring port of a server; repeatable", collect)
      .option("--method <name>", "of a worker or client; repeatable (default: all)", collect),
  ).action(doctor);
}

async function doctor(options: Options): Promise<void> {
  const findings: Finding[] = [];
  const tell = (...found: Finding[]) => {
    for (const finding of found) {
      findings.push(finding);
      show(finding, options.json ?? false);
    }
  };
  await examine(options, tell);
  const count = (level: Finding["level"]) => findings.filter((each) => each.level === level).length;
  if (!options.json) {
    print(`errors: ${count("error")}, warnings: ${count("warning")}`);
  }
  if (count("error") > 0) {
    throw new Exit(ExitCode.failed);
  }
}

async function examine(options: Options, tell: (...found: Finding[]) => void): Promise<void> {
  if (options.method && options.role !== "client" && options.role !== "worker") {
    throw new UsageError("--method is for --role client or --role worker");
  }
  const monitors = monitorsOf(options);
  const schema = await findSchema(options, tell);
  const meant = methodsOfServices(schema?.services ?? [], schema && options.method);
  let connection: Connection;
  try {
    connection = await open(options);
  } catch (cause) {
    if (!(cause instanceof ConnectError)) {
      throw cause;
    }
    tell(error(cause.rawMessage, "as it says: without a connection nothing else can be checked"));
    return;
  }
  try {
    tell(...checkServer(connection.nats));
    tell(...(await checkSync(connection.nats, monitors)));
    const { findings, hasJetStream } = await checkAccount(connection);
    tell(...findings);
    if (!hasJetStream) {
      return;
    }
    const clock = new Clock();
    for (const service of schema?.services ?? []) {
      tell(...(await checkDrift(connection, service)));
      tell(...(await checkStreams(connection, service, clock)));
      if (meant.has(service)) {
        tell(await checkPermissions(connection, service, options.role, meant.get(service)));
      }
    }
    tell(...clock.findings);
  } finally {
    await connection.close();
  }
}

/** A server can be looked at without a schema. */
async function findSchema(
  options: Options,
  tell: (finding: Finding) => void,
): Promise<Schema | undefined> {
  try {
    return await loadSchema(options);
  } catch (cause) {
    if (cause instanceof NoSchema) {
      tell(warning("no schema: the server alone is checked", cause.message));
      return undefined;
    }
    throw cause;
  }
}

function show({ level, title, mend }: Finding, asJson: boolean): void {
  if (asJson) {
    printJson({ level, title, ...(mend !== undefined && { mend }) });
    return;
  }
  print(`${level.padEnd(7)}  ${title}`);
  if (mend !== undefined) {
    print(`         ${mend}`);
  }
}
