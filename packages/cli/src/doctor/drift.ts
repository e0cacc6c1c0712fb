import type { DescService } from "@bufbuild/protobuf";
import { Code, ConnectError, type Connection } from "@jetrpc/runtime";
import { findDrift, type PlannedChange, planService } from "@jetrpc/runtime/operator";
import { showDifference } from "../show-plan.js";
import { error, type Finding, note, ok, warning } from "./finding.js";

/** Compares the server with the schema of a service. */
export async function checkDrift(connection: Connection, service: DescService): Promise<Finding[]> {
  try {
    const { changes, unseen } = await compare(connection, service);
    const absent = changes.filter(({ kind }) => kind === "create");
    const rest = changes.filter(({ kind }) => kind !== "create");
    return [
      ...(changes.length === 0
        ? [ok(`${service.typeName}: the server is as the schema says`)]
        : []),
      ...(absent.length > 0 ? [judgeAbsent(service, absent)] : []),
      ...rest.map((change) => judge(service, change)),
      ...unseen,
    ];
  } catch (cause) {
    const { code, rawMessage } = ConnectError.from(cause);
    return [
      code === Code.PermissionDenied
        ? warning(
            `${service.typeName}: not compared with the server: ${rawMessage}`,
            "run it as an administrator, too",
          )
        : error(
            `${service.typeName}: cannot be compared with the server: ${rawMessage}`,
            "mend what it says, and run it again",
          ),
    ];
  }
}

/** What differs, and a note of what these credentials may not see: an observer sees all but the bucket. */
async function compare(
  connection: Connection,
  service: DescService,
): Promise<{ changes: readonly PlannedChange[]; unseen: Finding[] }> {
  try {
    return { changes: (await planService(connection, service)).changes, unseen: [] };
  } catch (cause) {
    if (ConnectError.from(cause).code !== Code.PermissionDenied) {
      throw cause;
    }
    const title = `${service.typeName}: these credentials may not see the bucket of large payloads`;
    const unseen = [note(title, "run it as an administrator, too")];
    return { changes: await findDrift(connection, service), unseen };
  }
}

function judgeAbsent({ typeName }: DescService, absent: readonly PlannedChange[]): Finding {
  const list = absent.map(({ what }) => what).join(", ");
  return warning(
    `${typeName}: the server lacks ${list}`,
    "run `jetrpc apply`, or start a worker that may make them",
  );
}

/** Workers do not start while a stream or a consumer has other settings. */
function judge(
  { typeName }: DescService,
  { kind, what, differences, reasons }: PlannedChange,
): Finding {
  const why = reasons.join("; ");
  if (differences.length > 0) {
    return error(
      `${typeName}: ${what} differs from the schema: ${differences.map(showDifference).join(", ")}`,
      `${kind === "impossible" ? why : "run `jetrpc apply`"}; workers of this schema do not start before`,
    );
  }
  return kind === "impossible"
    ? error(`${typeName}: ${what} cannot be made or removed`, why)
    : warning(
        `${typeName}: ${what} is not in the schema`,
        `${why}. Run \`jetrpc apply --dry-run\``,
      );
}
