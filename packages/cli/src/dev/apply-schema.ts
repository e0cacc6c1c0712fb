import { ConnectError } from "@jetrpc/runtime";
import { planService } from "@jetrpc/runtime/operator";
import { UsageError } from "../exit-code.js";
import { loadSchema } from "../schema.js";
import { type ServerOptions, withConnection } from "../session.js";
import { planLines, summarize } from "../show-plan.js";
import type { DevOutput } from "./dev-output.js";

const name = "apply";

/**
 * Makes streams and consumers as the schema says. What would lose something is said, and done only
 * when `allowDestructive` is set. Never throws: workers refuse to start when the server does not
 * fit, and what can be done is said here.
 */
export async function applySchema(
  options: ServerOptions,
  { allowDestructive, mend }: { allowDestructive: boolean; mend: string },
  output: DevOutput,
): Promise<void> {
  try {
    const { services } = await loadSchema({}, { hasOptions: false });
    await withConnection(options, async (connection) => {
      for (const service of services) {
        const plan = await planService(connection, service);
        const kinds = new Set(plan.changes.map(({ kind }) => kind));
        if (kinds.size === 0) {
          continue;
        }
        const isRefused =
          kinds.has("impossible") || (kinds.has("destructive") && !allowDestructive);
        const isLoss = kinds.has("impossible") || kinds.has("destructive");
        output.write(
          name,
          isLoss ? planLines(plan).join("\n") : `${service.typeName}: ${summarize(plan.changes)}`,
          isLoss ? "warn" : "info",
        );
        if (isRefused) {
          output.write(name, `nothing of ${service.typeName} was changed: ${mend}`, "error");
        } else {
          await plan.apply({ allowDestructive });
        }
      }
    });
  } catch (error) {
    if (error instanceof UsageError) {
      output.write(name, error.message, "warn");
    } else {
      output.write(name, ConnectError.from(error).rawMessage, "error");
    }
  }
}
