import { Code, ConnectError } from "@jetrpc/runtime";
import { type PlannedChange, planService, type ServicePlan } from "@jetrpc/runtime/operator";
import { Command } from "commander";
import { actToTheEnd } from "../closed-output.js";
import { Exit, ExitCode, UsageError } from "../exit-code.js";
import { print, printJson } from "../output.js";
import { addSessionOptions, type SessionOptions, withSession } from "../session.js";
import { printPlan, summarize } from "../show-plan.js";

interface Options extends SessionOptions {
  dryRun?: boolean;
  allowDestructive?: boolean;
  detailedExitcode?: boolean;
}

/** `jetrpc apply`: makes streams, consumers and buckets as the schema says. */
export function applyCommand(): Command {
  return addSessionOptions(
    new Command("apply")
      .option("--dry-run", "show what would be done, and do nothing")
      .option("--allow-destructive", "do what removes something or drops what is stored, too")
      .option("--detailed-exitcode", "with --dry-run: exit with 3 when there are changes"),
  ).action(apply);
}

async function apply(options: Options): Promise<void> {
  const { json, dryRun = false, allowDestructive = false, detailedExitcode = false } = options;
  if (detailedExitcode && !dryRun) {
    throw new UsageError("--detailed-exitcode goes with --dry-run: add it");
  }
  await withSession(
    options,
    async (connection, { services }) => {
      const plans: ServicePlan[] = [];
      for (const service of services) {
        plans.push(await planService(connection, service));
      }
      const changes = plans.flatMap((plan) =>
        plan.changes.map((change) => ({ service: plan.service, ...change })),
      );
      const isRefused = ({ kind }: PlannedChange) =>
        kind === "impossible" || (kind === "destructive" && !allowDestructive);
      const applies = !dryRun && changes.length > 0 && !changes.some(isRefused);
      if (!json) {
        plans.forEach(printPlan);
        print(changes.length === 0 ? "no changes" : summarize(changes));
      }
      if (applies) {
        actToTheEnd();
        for (const plan of plans) {
          await plan.apply({ allowDestructive });
        }
      }
      if (json) {
        printJson({ changes, applied: applies });
      } else if (applies) {
        print("applied");
      }
      if (!dryRun && !applies && changes.length > 0) {
        throw refusal(changes.filter(isRefused));
      }
      if (detailedExitcode && changes.length > 0) {
        throw new Exit(ExitCode.changesPending);
      }
    },
    { isSchemaNeeded: true },
  );
}

function refusal(refused: readonly PlannedChange[]): ConnectError {
  const names = (kind: PlannedChange["kind"]) =>
    refused.filter((change) => change.kind === kind).map(({ what }) => what);
  const [impossible, destructive] = [names("impossible"), names("destructive")];
  const parts = [
    impossible.length > 0 && `${impossible.join(", ")} cannot be changed as the schema says`,
    destructive.length > 0 &&
      `${destructive.join(", ")} would lose something: allow it with --allow-destructive`,
  ].filter(Boolean);
  return new ConnectError(
    `nothing was changed, for the reasons above: ${parts.join("; ")}`,
    Code.FailedPrecondition,
  );
}
