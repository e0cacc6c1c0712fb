import type { DescService } from "@bufbuild/protobuf";
import { Code, ConnectError, type Connection } from "@jetrpc/runtime";
import { findDrift } from "@jetrpc/runtime/operator";
import { bindService } from "@jetrpc/runtime/schema";
import { Command, Option } from "commander";
import { ProgressBar } from "../call/progress-bar.js";
import { bufBreaking } from "../check/buf-breaking.js";
import { type CallCensus, takeCensus } from "../check/call-census.js";
import { compareOptions } from "../check/compare-options.js";
import type { Verdict } from "../check/verdict.js";
import { Exit, ExitCode } from "../exit-code.js";
import { print, printJson } from "../output.js";
import { BufMissing, describedSchema, loadSchema, type Schema } from "../schema.js";
import { addSessionOptions, type SessionOptions, withSession } from "../session.js";

interface Options extends SessionOptions {
  against?: string;
  rules: string;
}

/** `jetrpc check`: whether a schema may be deployed over the one that runs. */
export function checkCommand(): Command {
  return addSessionOptions(
    new Command("check")
      .option(
        "--against <file>",
        "image of the old schema (default: what running workers describe)",
      )
      .addOption(
        new Option("--rules <category>", "rules of `buf breaking`")
          .choices(["FILE", "PACKAGE", "WIRE_JSON", "WIRE"])
          .default("WIRE_JSON"),
      ),
  ).action(check);
}

async function check(options: Options): Promise<void> {
  await withSession(
    options,
    async (connection, after) => {
      const before = await oldSchema(connection, after, options);
      const verdicts = [...removedServices(before, after, options)];
      const tell = (found: readonly Verdict[]) => {
        verdicts.push(...found);
        show(found, options.json);
      };
      show(verdicts, options.json);
      tell(await runRules(before, after, options));
      const stored = { queued: 0, scheduled: 0, dead: 0, ended: 0, large: 0 };
      for (const service of after.services) {
        const old = before.services.find(({ typeName }) => typeName === service.typeName);
        tell(await checkService(connection, { old, service, before, after, stored }));
      }
      conclude(verdicts, stored, options.json);
    },
    { isSchemaNeeded: true },
  );
}

async function oldSchema(
  connection: Connection,
  { services, registry }: Schema,
  { against, service }: Options,
): Promise<Schema> {
  if (against !== undefined) {
    return await loadSchema({ descriptors: against }, { anyService: true });
  }
  const known: DescService[] = [];
  let schema: Schema | undefined;
  for (const { typeName } of services) {
    try {
      schema = await describedSchema(connection, [typeName]);
      known.push(...schema.services);
    } catch (cause) {
      if (ConnectError.from(cause).code !== Code.Unavailable) {
        throw cause;
      }
    }
  }
  if (known.length === 0) {
    throw new ConnectError(
      `no worker of ${(service ?? services.map(({ typeName }) => typeName)).join(", ")} answers: start one of the schema that runs now, or name its image with --against FILE`,
      Code.Unavailable,
    );
  }
  return { services: known, registry: schema?.registry ?? registry };
}

/** Only an image tells of services that the new schema lacks. */
function removedServices(before: Schema, after: Schema, { against, service }: Options): Verdict[] {
  return before.services
    .filter(({ typeName }) => against !== undefined && (!service || service.includes(typeName)))
    .filter(({ typeName }) => after.services.every((each) => each.typeName !== typeName))
    .map(({ typeName }) => ({
      level: "error",
      rule: "service-removed",
      service: typeName,
      message: "the service is gone, or has no durable method and no option of jetrpc any more",
    }));
}

async function runRules(before: Schema, after: Schema, { rules }: Options): Promise<Verdict[]> {
  const both = after.services.filter(({ typeName }) =>
    before.services.some((each) => each.typeName === typeName),
  );
  const old = before.services.filter(({ typeName }) =>
    both.some((each) => each.typeName === typeName),
  );
  try {
    return both.length === 0 ? [] : await bufBreaking(old, both, rules);
  } catch (cause) {
    if (!(cause instanceof BufMissing)) {
      throw cause;
    }
    return [
      {
        level: "warning",
        rule: "buf-missing",
        message: `not compared by \`buf breaking\`: ${cause.message}`,
      },
    ];
  }
}

/** A service, as it is and as it will be. */
interface Deploy {
  readonly old: DescService | undefined;
  readonly service: DescService;
  readonly before: Schema;
  readonly after: Schema;
  readonly stored: Record<"queued" | "scheduled" | "dead" | "ended" | "large", number>;
}

async function checkService(
  connection: Connection,
  { old, service, before, after, stored }: Deploy,
): Promise<Verdict[]> {
  const binding = bindService(old ?? service);
  const verdicts: Verdict[] = [];
  let census: CallCensus | undefined;
  const bar = new ProgressBar();
  try {
    census = await takeCensus(
      connection,
      binding,
      {
        before: old && { methods: old.methods, registry: before.registry },
        after: { methods: service.methods, registry: after.registry },
      },
      (done) => bar.show({ done, total: 0, message: `messages of ${service.typeName} looked at` }),
    );
    for (const each of census.methods.values()) {
      stored.queued += each.queued.length;
      stored.scheduled += each.scheduled;
      stored.dead += each.dead.length;
      stored.ended += each.ended.length;
      stored.large += each.large;
    }
  } catch (cause) {
    if (ConnectError.from(cause).code !== Code.PermissionDenied) {
      throw cause;
    }
    // A check that may not look says so, or CI would take it for a yes.
    verdicts.push({
      level: "error",
      rule: "not-allowed",
      service: service.typeName,
      message:
        "its stored calls were not looked at, as these credentials may not read them: the operator role may",
    });
  } finally {
    bar.clear();
  }
  if (old) {
    verdicts.push(...compareOptions(binding, bindService(service), census?.methods));
  }
  verdicts.push(...(census?.losses ?? []));
  const drift = await findDrift(connection, service);
  for (const { kind, what, reasons } of drift) {
    if (kind === "impossible") {
      verdicts.push({
        level: "error",
        rule: "apply-impossible",
        service: service.typeName,
        message: `${what}: ${reasons.join("; ")}`,
      });
    }
  }
  return verdicts;
}

function show(verdicts: readonly Verdict[], asJson: boolean | undefined): void {
  for (const verdict of verdicts) {
    if (asJson) {
      printJson(verdict);
    } else {
      print(lineOf(verdict));
    }
  }
}

function lineOf({ level, rule, service, method, calls, example, message }: Verdict): string {
  const name = [service, method].filter((part) => part !== undefined).join(".");
  const hits = calls === undefined ? "" : `, ${calls} ${calls === 1 ? "call" : "calls"}`;
  const such = example === undefined ? "" : ` such as ${example}`;
  return `${level.padEnd(7)}  ${name === "" ? "" : `${name}: `}${message} [${rule}${hits}${such}]`;
}

function conclude(
  verdicts: readonly Verdict[],
  stored: Deploy["stored"],
  asJson: boolean | undefined,
): void {
  const count = (level: Verdict["level"]) => verdicts.filter((each) => each.level === level).length;
  const [errors, warnings] = [count("error"), count("warning")];
  if (asJson) {
    printJson({ safe: errors === 0, errors, warnings, stored });
  } else {
    const { queued, scheduled, dead, ended, large } = stored;
    print(
      `looked at the calls that are stored: ${queued} queued, ${scheduled} scheduled, ${dead} dead, ${ended} ended${large > 0 ? `; ${large} large messages were not decoded` : ""}`,
    );
    print(
      `${errors === 0 ? "safe" : "not safe"} to deploy: errors: ${errors}, warnings: ${warnings}`,
    );
  }
  if (errors > 0) {
    throw new Exit(ExitCode.failed);
  }
}
