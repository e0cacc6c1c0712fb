import { Command } from "commander";
import { timeOf } from "../duration.js";
import { findMethod, operatorsOf } from "../operators.js";
import { print, printJson } from "../output.js";
import { addSessionOptions, type SessionOptions, withSession } from "../session.js";

interface Options extends SessionOptions {
  until?: string;
}

/** `jetrpc pause METHOD`: lets workers take no further calls of a method. */
export function pauseCommand(): Command {
  return addSessionOptions(
    new Command("pause")
      .argument("<method>", "its name, or its full name")
      .option("--until <time>", "end of the pause: 2030-01-31T12:00:00Z, or 10m (default: resume)"),
  ).action(pause);
}

async function pause(name: string, options: Options): Promise<void> {
  const until = options.until === undefined ? undefined : timeOf(options.until, "--until");
  await withSession(options, async (connection, schema) => {
    const { service, operator, method } = findMethod(operatorsOf(connection, schema), name);
    await operator.pause(method, until);
    if (options.json) {
      printJson({ service: service.typeName, method, paused: true });
    } else {
      print(`${service.typeName}.${method} is paused`);
    }
  });
}
