import { create, fromBinary, type JsonValue, type Registry, toJson } from "@bufbuild/protobuf";
import { base64Encode } from "@bufbuild/protobuf/wire";
import { ConnectError } from "@jetrpc/runtime";
import { codeName } from "@jetrpc/runtime/schema";
import { Exit, ExitCode } from "../exit-code.js";
import { host } from "../host.js";
import { plain } from "../output.js";

/** Names the role that may call, where the server has refused it: a handler may refuse, too. */
export function withRole(cause: unknown): ConnectError {
  const error = ConnectError.from(cause);
  if ((error.cause as Error | undefined)?.name !== "PermissionViolationError") {
    return error;
  }
  const right = /publish on [^$]\S*\.later\./.test(error.rawMessage)
    ? ", and with --may-delay"
    : "";
  const text = `${error.rawMessage} (a client of the method may, for its owner: \`jetrpc permissions\` with the role client${right})`;
  return new ConnectError(text, error.code, undefined, undefined, error);
}

/**
 * Writes the error that a call ended with to stderr: code, message and details; as one JSON object
 * for programs. Returns what ends the command.
 */
export function tellCallError(cause: unknown, registry: Registry, asJson: boolean): Exit {
  const error = withRole(cause);
  const { rawMessage: message } = error;
  const code = codeName(error.code);
  const details = error.details.map((detail) => showDetail(detail, registry));
  if (asJson) {
    const object = { code, message, ...(details.length > 0 && { details }) };
    host().stderr.write(`${JSON.stringify({ error: object })}\n`);
  } else {
    const lines = [
      `${code}: ${message}`,
      ...details.map(
        ({ type, ...rest }) => `  ${type} ${JSON.stringify(rest.value ?? rest.base64)}`,
      ),
    ];
    const text = plain(lines.join("\n")).replaceAll("\n", "\njetrpc: ");
    host().stderr.write(`jetrpc: ${text}\n`);
  }
  return new Exit(ExitCode.failed);
}

/** A detail of an error: decoded where the schema has its type. */
function showDetail(
  detail: ConnectError["details"][number],
  registry: Registry,
): { type: string; value?: JsonValue; base64?: string } {
  if ("desc" in detail) {
    const { desc } = detail;
    return { type: desc.typeName, value: toJson(desc, create(desc, detail.value), { registry }) };
  }
  const { type, value } = detail;
  try {
    const desc = registry.getMessage(type);
    if (desc) {
      return { type, value: toJson(desc, fromBinary(desc, value), { registry }) };
    }
  } catch {
    // Those who threw it have another version of the type.
  }
  return { type, base64: base64Encode(value) };
}
