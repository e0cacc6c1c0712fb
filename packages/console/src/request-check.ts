import type { JsonValue, MessageInitShape, Registry } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@jetrpc/runtime";
import type { DeadLetter } from "@jetrpc/runtime/operator";
import type { CallName, FieldProblemSchema } from "./gen/jetrpc/console/v1/console_service_pb.js";
import type { Target } from "./target.js";

type Problem = MessageInitShape<typeof FieldProblemSchema>;

/** The dead letter of a call. Throws NotFound when it has none. */
export async function deadLetterOf(
  target: Target,
  { service, method, owner, callId }: CallName,
): Promise<DeadLetter> {
  const { operator } = target.operator(service);
  const { deadLetter, state } = await operator.showCall({ method, owner, callId });
  if (!deadLetter) {
    const text = `call "${callId}" has no dead letter: it is ${state}`;
    throw new ConnectError(text, Code.NotFound);
  }
  return deadLetter;
}

/** What is wrong with a request in JSON; the place, where it is no JSON. */
export async function checkRequest(
  letter: DeadLetter,
  text: string,
  registry: Registry,
): Promise<Problem[]> {
  let json: JsonValue;
  try {
    json = JSON.parse(text);
  } catch (error) {
    const problem = error instanceof Error ? error.message : String(error);
    return [{ path: "", problem, ...placeOf(problem, text) }];
  }
  return [...(await letter.check(json, registry))];
}

/** Where, as far as Node tells: by position, by line and column, or that the text has ended. */
function placeOf(message: string, text: string): { line: number; column: number } {
  const [, line, column] = /line (\d+) column (\d+)/.exec(message) ?? [];
  if (line && column) {
    return { line: Number(line), column: Number(column) };
  }
  const [, position] = /position (\d+)/.exec(message) ?? [];
  if (position === undefined && !message.includes("end of JSON")) {
    return { line: 0, column: 0 };
  }
  const lines = text.slice(0, position === undefined ? text.length : Number(position)).split("\n");
  return { line: lines.length, column: (lines.at(-1)?.length ?? 0) + 1 };
}
