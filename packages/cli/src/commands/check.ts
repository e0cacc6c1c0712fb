import type { DescService } from "@bufbuild/protobuf";
import { Code, ConnectError, type Connection } from "@jetrpc/runtime";
import { findDrift } from "@jetrpc/runtime/operator";
import { bindService } from "@jetrpc/runtime/schema";
import { Command, Option } from "commander";
import { ProgressBar } from "../call/progress-bar.js";
import { bufBreaking } from "../check/buf-breaking.js";
import { type CallCensus, takeCensus } from "../check/call-census.js";
import { compareOptions } from "../check/compare-options.js";
import { askAll, type Described, roundsOf, unseenSchemas } from "../check/described-schemas.js";
import type { Verdict } from "../check/verdict.js";
import { Exit, ExitCode } from "../exit-code.js";
import { print, printJson } from "../output.js";
import type { RunningWorker } from "../running-workers.js";
import { BufMissing, loadSchema, type Schema } from "../schema.js";
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
      const described =
        options.against === undefined ? await askWorkers(connection, after, options) : [];
      const rounds =
        options.against === undefined ? roundsOf(described) : [await loadOld(options.against)];
      const verdicts = new Map<string, Verdict>();
      const tell = (found: readonly Verdict[]) => {
        // What two old schemas have in common is told once.
        for (const each of found) {
          const key = JSON.stringify(each);
          if (!verdicts.has(key)) {
            verdicts.set(key, each);
            show(each, options.json);
          }
        }
      };
      const stored = { queued: 0, scheduled: 0, dead: 0, ended: 0, large: 0 };
      for (const [round, before] of rounds.entries()) {
        tell(removedServices(before, after, options));
        tell(await runRules(before, after, options));
        for (const service of after.services) {
          const old = before.services.find(({ typeName }) => typeName === service.typeName);
          if (old || round === 0) {
            const counts = round === 0 ? stored : { ...stored };
            const deploy = { old, service, before, after, stored: counts };
            tell(await checkService(connection, deploy));
          }
        }
      }
      tell(described.flatMap(unseenSchemas));
      conclude([...verdicts.values()], stored, described, options.json);
    },
    { isSchemaNeeded: true },
  );
}

/** The schema of `--against`: the other options are of the new one. */
function loadOld(descriptors: string): Promise<Schema> {
  return loadSchema({ descriptors }, { anyService: true, hasOptions: false });
}

/** What the workers of each service describe. Throws Unavailable when none of any service runs. */
async function askWorkers(
  connection: Connection,
  { services }: Schema,
  { service }: Options,
): Promise<Described[]> {
  const names = services.map(({ typeName }) => typeName);
  const all = await Promise.all(names.map((name) => askAll(connection, name)));
  const known = all.filter(({ schemas }) => schemas.length > 0);
  if (known.length === 0) {
    throw new ConnectError(
      `no worker of ${(service ?? names).join(", ")} answers: start one of the schema that runs now, or name its image with --against FILE`,
      Code.Unavailable,
    );
  }
  return known;
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

function versionsOf(workers: readonly RunningWorker[]): string[] {
  return [...new Set(workers.map(({ version }) => version))].sort();
}

function plural(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? "" : "s"}`;
}

function show(verdict: Verdict, asJson: boolean | undefined): void {
  if (asJson) {
    printJson(verdict);
  } else {
    print(lineOf(verdict));
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
  described: readonly Described[],
  asJson: boolean | undefined,
): void {
  const count = (level: Verdict["level"]) => verdicts.filter((each) => each.level === level).length;
  const [errors, warnings] = [count("error"), count("warning")];
  if (asJson) {
    const workers = described.map(({ service, workers, schemas }) => ({
      ...{ service, workers: workers.length, versions: versionsOf(workers) },
      schemas: schemas.length,
    }));
    const against = workers.length > 0 ? { described: workers } : {};
    printJson({ safe: errors === 0, errors, warnings, stored, ...against });
  } else {
    for (const { service, workers, schemas } of described) {
      const by =
        workers.length > 0
          ? `${plural(workers.length, "worker")} (${versionsOf(workers).join(", ")})`
          : "a worker that is too busy to be listed";
      print(`compared with ${plural(schemas.length, "schema")} of ${service} that ${by} described`);
    }
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
