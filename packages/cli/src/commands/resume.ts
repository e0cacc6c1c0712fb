import { Command } from "commander";
import { findMethod, operatorsOf } from "../operators.js";
import { print, printJson } from "../output.js";
import { addSessionOptions, type SessionOptions, withSession } from "../session.js";

/** `jetrpc resume METHOD`: ends a pause. */
export function resumeCommand(): Command {
  return addSessionOptions(
    new Command("resume").argument("<method>", "its name, or its full name"),
  ).action(resume);
}

async function resume(name: string, options: SessionOptions): Promise<void> {
  await withSession(options, async (connection, schema) => {
    const { service, operator, method } = findMethod(operatorsOf(connection, schema), name);
    await operator.resume(method);
    if (options.json) {
      printJson({ service: service.typeName, method, paused: false });
    } else {
      print(`${service.typeName}.${method} is resumed`);
    }
  });
}
